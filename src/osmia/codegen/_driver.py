"""From a module to functions with relocations and line info: check, run LLVM, take the ELF object apart.

LLVM ends the process on what its BPF back end cannot do. `check_text` refuses all that can be told from the IR; where
the 512 bytes of stack could be exceeded by spills, LLVM runs in a forked child and its last words become the error.
"""

from __future__ import annotations

import os

from ..errors import CodegenError, OsmiaError
from ..objects import Function
from . import _llvm
from ._builder import STACK_LIMIT, Module
from ._check import check_text

PATIENCE_S = 120  # LLVM's time grows with the square of a block's length: a huge one would never end
# A function with fewer temporaries than this cannot spill past the stack limit, whatever LLVM does.
_SPILL_BYTES = 8
_SIGALRM = 14
_DONE = "\ncompiled"  # the child's last words when all went well


class Compiled:
    """What LLVM made of a module: functions by name, and the read-only data they refer to."""

    __slots__ = ("elf", "functions", "rodata")

    def __init__(self, functions: dict[str, Function], rodata: bytes, elf: bytes) -> None:
        self.functions = functions
        self.rodata = rodata
        self.elf = elf


def compile_module(module: Module, *, optimize: str = "short", source: dict[str, list[str]] | None = None) -> Compiled:
    """Compile; `source` maps file names to their lines, for the text in line info.

    Raises CodegenError, with the function and (from the builder) the line of the source.
    """
    ir = module.text()
    stack = check_text(ir, module.cpu)
    busiest = max((f.stack + f.values * _SPILL_BYTES for f in module.functions), default=0)
    # -O2 unrolls and inlines, so there the size of the source says nothing.
    if max(stack, busiest) > STACK_LIMIT or optimize == "O2":
        data = compile_guarded(ir, cpu=module.cpu, optimize=optimize)
    else:
        data = _llvm.emit(ir, cpu=module.cpu, optimize=optimize)
    functions, rodata = split_object(data, source or {})
    return Compiled(functions, rodata, data)


def compile_guarded(ir: str, *, cpu: str = "v3", optimize: str = "short") -> bytes:
    """Compile in a forked child: LLVM's exit or abort becomes a CodegenError. Costs about 5 ms more.

    For any text, also such that `check_text` did not see: nothing that LLVM does ends this process or keeps it waiting.
    """
    _llvm._library()  # loaded once, here, and shared with the child
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(ir, cpu, optimize, out_write, err_write)
    os.close(out_write)
    os.close(err_write)
    data, said = _read_both(out_read, err_read)
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:  # who uses us ignores SIGCHLD: the kernel kept no status, so the child's last words count
        status = 0 if said.endswith(_DONE) else 1
    if status == 0 and data:
        return data
    raise _explain(said.removesuffix(_DONE), status)


def _child(ir: str, cpu: str, optimize: str, out: int, err: int) -> None:
    code = 1
    try:
        import signal

        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.alarm(PATIENCE_S)
        os.dup2(err, 2)
        data = memoryview(_llvm.emit(ir, cpu=cpu, optimize=optimize))
        while data:
            data = data[os.write(out, data) :]
        os.write(2, _DONE.encode())
        code = 0
    except OsmiaError as error:
        os.write(2, error.message.encode("utf-8", "replace"))
    except Exception as error:
        os.write(2, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _read_both(out: int, err: int) -> tuple[bytes, str]:
    """Read two pipes to their ends without one blocking the other."""
    import select

    parts: dict[int, list[bytes]] = {out: [], err: []}
    open_fds = [out, err]
    while open_fds:
        for fd in select.select(open_fds, [], [])[0]:
            chunk = os.read(fd, 1 << 16)
            if chunk:
                parts[fd].append(chunk)
            else:
                os.close(fd)
                open_fds.remove(fd)
    return b"".join(parts[out]), b"".join(parts[err]).decode("utf-8", "replace")


def _explain(said: str, status: int) -> CodegenError:
    function, line = "", 0
    for text in said.splitlines():
        if "in function " in text:
            function = text.split("in function ", 1)[1].split(" ")[0]
        head = text.split(" in function")[0].split(":")
        if len(head) >= 3 and head[-2].isdigit() and head[-1].strip().isdigit():
            line = int(head[-2])
        elif len(head) >= 4 and head[-3].isdigit():
            line = int(head[-3])
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == _SIGALRM:
        return CodegenError(
            f"compile: LLVM was not done after {PATIENCE_S} s",
            hint="split the probe, or unroll less",
        )
    if "stack limit" in said:
        return CodegenError(
            f"compile function {function or '?'}: more than {STACK_LIMIT} bytes of stack are needed",
            function=function,
            line=line,
            hint="split the probe, or use smaller strings and fewer variables",
        )
    first = said.strip().splitlines()[0] if said.strip() else f"LLVM ended with status {status}"
    return CodegenError(f"compile function {function or '?'}: {first}", function=function, line=line)


def split_object(data: bytes, source: dict[str, list[str]]) -> tuple[dict[str, Function], bytes]:
    """Functions (with relocations by symbol name and line info) and `.rodata` of an object that LLVM wrote."""
    from ._object import split

    return split(data, source)
