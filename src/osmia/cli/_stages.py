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
            hint = nearest(stage, STAGES) or f"one of {', '.join(STAGES)}"
            told = f"USAGE: invalid option for -d: {stage}"
            raise UsageError(f"read option --debug: no stage {stage!r}", hint=hint, as_bpftrace=told)
    if "all" in wanted:
        wanted = set(STAGES)
    for stage in ("ast", "types", "codegen", "dis", "verifier"):
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


def _types(compilation: Compilation) -> str:
    """The programs with the type of each expression that has one, in the order of the script."""
    from ..lang.bpftrace import ast

    out: list[str] = []

    def walk(node: object, depth: int) -> None:
        if isinstance(node, list):
            for each in node:
                walk(each, depth)
        elif isinstance(node, ast.Node):
            if isinstance(node, ast.Expr) and node.span.end > node.span.start:
                written = checked.sources[node.span.source].text[node.span.start : node.span.end]
                out.append(f"{'  ' * depth}{' '.join(written.split())} :: {node.type}")
            for field in node._fields:
                if field not in ("span", "type", "slot"):
                    walk(getattr(node, field), depth + 1)

    checked = compilation.check()
    for probe in checked.probes:
        out.append(", ".join(probe.names))
        walk([probe.predicate, probe.body], 1)
    for name, found in checked.maps.items():
        out.append(f"{name}[{found.key}] :: {found.value}" if found.key else f"{name} :: {found.value}")
    return "\n".join(out)


def _verifier(compilation: Compilation) -> str:
    from ..kernel import KernelTarget

    with KernelTarget().load(compilation.compile(), log_level=1) as loaded:
        return "\n".join(f"{name}:\n{log}" for name, log in loaded.logs.items())


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


_TITLES = {"ast": "AST", "codegen": "LLVM IR before optimization", "dis": "Disassembled bytecode", "types": "Types",
           "verifier": "Verifier log"}  # fmt: skip
_MAKERS = {"ast": _ast, "codegen": _ir, "dis": _dis, "types": _types, "verifier": _verifier}
