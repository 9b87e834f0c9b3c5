"""Programs as native code: bytecode to LLVM IR to machine code, cached by content.

    with compile(code, machine) as native:
        native.run(context)

Unchecked code is for programs that a verifier accepted: its accesses go where they go. Checked code looks every access
up in the machine's regions, counts fuel at loops and calls, and limits the depth of calls.
"""

from __future__ import annotations

from ..errors import NotSupported, VmError
from ._jit_run import Native
from ._native_image import FAR_ADDRESS, Image, NativeCode, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Cache
    from ._code import Code
    from ._machine import Machine

_WRITERS = ("calls", "function", "maps", "module", "ops", "state")  # the modules that decide what the code is
LEVEL = 2
# With more branches, code is not optimised; by whether it is checked. 300 checked accesses take a second at level 2.
_BRANCHES = {False: 2500, True: 600}


def compile(
    code: Code, machine: Machine, *, checked: bool = False, level: int = LEVEL, cache: Cache | None = None
) -> Native:
    """Native code for `code`, which is on `machine`; a context manager.

    `level` is LLVM's, 0 to 3. With a `cache`, code that was compiled before (for this CPU, by this version) is taken
    from there, and LLVM is not loaded. NotSupported where there is no LLVM for this machine.
    """
    if code.machine is not machine:
        raise VmError(f"compile {code.name}: it was loaded on another machine", program=code.name)
    image, constants = _translate(code, checked, level, cache)
    return Native(code, machine, NativeCode(image), constants, checked=checked)


def generate_ir(code: Code, *, checked: bool = False, direct: bool = True) -> tuple[str, list[tuple[str, int]]]:
    """The IR that `compile` hands to LLVM, and what its state block must hold (see `_jit_module`).

    `direct`: memory is reached from a symbol at address 0, where the machine allows it.
    """
    from ..syscalls import MACHINE
    from ._jit_module import ModuleWriter

    writer = ModuleWriter(code, checked=checked, direct=direct and MACHINE == "x86_64")
    return writer.text(), writer.constants


def _translate(code: Code, checked: bool, level: int, cache: Cache | None) -> tuple[Image, tuple[tuple[str, int], ...]]:
    key = b""
    if cache is not None:
        key = _key(code, checked, level)
        found = cache.get_value(key)
        if found is not None:
            image, constants = found
            return Image(*image), constants
    image, constants = _compile(code, checked, level)
    if cache is not None:
        cache.put_value(key, (image.parts(), constants))
    return image, constants


def _compile(code: Code, checked: bool, level: int) -> tuple[Image, tuple[tuple[str, int], ...]]:
    text, wanted = generate_ir(code, checked=checked)
    try:
        return read_object(_emit(text, level, checked)), tuple(wanted)
    except NotSupported as error:
        if error.feature != FAR_ADDRESS:
            raise
    # A program that no verifier took, with a pointer made of a constant.
    text, wanted = generate_ir(code, checked=checked, direct=False)
    return read_object(_emit(text, level, checked)), tuple(wanted)


def _emit(text: str, level: int, checked: bool) -> bytes:
    """Machine code. LLVM's optimisers take the square of the number of blocks: of huge programs, seconds or hours."""
    from ..codegen import emit_native

    return emit_native(text, level=level if text.count("\n  br ") <= _BRANCHES[checked] else 0)


def _key(code: Code, checked: bool, level: int) -> bytes:
    from .._version import __version__
    from ..objects import cache_key
    from ._jit_calls import INLINE
    from ._jit_maps import shape

    maps = [(at, shape(made), code.constants[at] == made.handle) for at, made in sorted(code.map_slots.items())]
    mocked = [number for number in sorted(INLINE) if code.machine.is_mocked(number)]
    return cache_key(
        "native", _stamp(), __version__, _processor(), code.insns, str(maps), str(mocked), int(checked), level
    )


def _stamp() -> str:
    """When what writes the code was changed last: in a checkout the version alone does not tell."""
    import os

    folder = os.path.dirname(__file__)
    try:
        return str([os.stat(os.path.join(folder, f"_jit_{part}.py")).st_mtime_ns for part in _WRITERS])
    except OSError:
        return ""  # from an archive, where it does not change


def _processor() -> str:
    """What the code depends on of this machine, without asking LLVM: the processor's model and features."""
    import os

    wanted = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
    out = [os.uname().machine]
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in wanted:
                    out.append(value.strip())
                elif not name.strip():
                    break
    except OSError:
        out.append("unknown")
    return "\n".join(out)
