"""`-d STAGE`: what compilation made of a script, on stderr."""

from __future__ import annotations

from ..errors import UsageError
from ._options import nearest
from ._output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..lang.bpftrace import Compilation
    from ..objects import Object
    from ._engine import RunOptions
    from ._trace import Script

STAGES = ("ast", "types", "codegen", "codegen-opt", "dis", "parse", "libbpf", "verifier", "all")


def show_stages(texts: Sequence[str], script: Script, options: RunOptions) -> None:
    """Print the stages asked for. Raises `UsageError` for a stage that there is not."""
    wanted = {stage for text in texts for stage in text.split(",") if stage}
    for stage in wanted:
        if stage not in STAGES:
            raise UsageError(f"USAGE: invalid option for -d: {stage}", hint=nearest(stage, STAGES))
    if "all" in wanted:
        wanted = set(STAGES)
    for stage in ("ast", "codegen", "dis"):
        if stage in wanted or (stage == "dis" and "codegen-opt" in wanted):
            complain(f"{_TITLES[stage]}\n{'-' * 35}\n{_MAKERS[stage](_compilation(script, options))}\n")


def _compilation(script: Script, options: RunOptions) -> Compilation:
    from ..lang.bpftrace import Compilation

    return Compilation(
        script.text,
        name=script.name,
        params=script.params,
        options=script.named,
        pid=options.pid,
        has_cmd=bool(options.cmd),
        unsafe=options.unsafe,
    )


def _ast(compilation: Compilation) -> str:
    from ..lang.bpftrace.format import dump

    return dump(compilation.parse())


def _ir(compilation: Compilation) -> str:
    lowering = compilation.lower()
    lowering.lower()
    return lowering.ir()


def _dis(compilation: Compilation) -> str:
    return disassembly(compilation.compile())


def disassembly(obj: Object) -> str:
    """All functions of an object as assembly."""
    from ..isa import disassemble

    out = []
    for function in (*(p.function for p in obj.programs), *obj.subprograms):
        out.append(f"{function.name}:")
        out += [f"  {line}" for line in disassemble(function.insns, numbered=True)]
    return "\n".join(out) + "\n"


_TITLES = {"ast": "AST", "codegen": "LLVM IR before optimization", "dis": "Disassembled bytecode"}
_MAKERS = {"ast": _ast, "codegen": _ir, "dis": _dis}
