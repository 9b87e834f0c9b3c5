"""The type checker: from the expanded script to `CheckedScript`, all errors at once.

Types are found by walking the whole script until nothing changes any more: each walk widens what variables and
maps hold by what is assigned to them. When types are stable, questions about types (`sizeof`, `typeinfo`, `if
comptime`)
are answered; the branches chosen may bring new types, so inference goes on. The last walk reports errors and makes
implicit conversions explicit.
"""

from __future__ import annotations

from ...errors import SourceError
from . import _check_calls, _check_casts, _check_stmt, ast
from ._check_expr import condition, expr
from ._check_maps import check_assigned, check_kinds, declare, default_values
from ._check_probes import expand
from ._check_state import Context, Environment, State
from ._check_types import UNKNOWN, settle
from .builtins import MAP_KINDS
from .checked import CheckedProbe, CheckedScript, MapInfo
from .types import Type

# Widening is monotonic and short: int8 -> int64, strings to their longest, elements of tuples likewise.
MAX_WALKS = 60
MAX_ROUNDS = 30  # nested `if comptime`


def check(script: ast.Script, env: Environment) -> CheckedScript:
    """Type and resolve a script after `expand`. The tree is changed in place.

    Raises SourceError with all errors, in source order. Warnings are added to `env.warnings`.
    """
    st = State(env)
    try:
        return _check(st, script)
    except RecursionError:
        span = script.probes[0].span if script.probes else ast.Span(0, 0)
        problem = st.diagnostic("error", span, "nested too deeply", "split expressions with variables")
        raise SourceError([problem]) from None


def _check(st: State, script: ast.Script) -> CheckedScript:
    programs: list[tuple[CheckedProbe, Context]] = []
    for index, probe in enumerate(script.probes):
        programs += expand(st, index, probe)
    _check_iterators(st, programs, script)
    _check_limits(st, programs)
    for d in script.maps:
        declare(st, d, MAP_KINDS)
    _infer(st, programs)
    st.final = True
    st.flexible.clear()
    assigned = st.assigned
    st.assigned, st.assigned_later = set(), assigned
    for d in script.maps:
        declare(st, d, MAP_KINDS)
    _walk(st, programs)
    check_kinds(st)
    check_assigned(st)
    _check_settled(st)
    _finish(st, programs)
    return CheckedScript(
        st.env.sources,
        [p for p, _ in programs],
        {name: _map_info(m) for name, m in st.maps.items() if m.value is not UNKNOWN},
        st.config,
        dict(st.structs),
        st.loaded_btf,
        st.env.cpid,
        st.env.unsafe,
        dict(st.enums),
        getattr(st.env.catalogue, "module_btf", None),
    )


def _infer(st: State, programs: list[tuple[CheckedProbe, Context]]) -> None:
    """Walk until types are stable, and again after constants of types were folded."""
    for _ in range(MAX_ROUNDS):
        _stabilise(st, programs)
        if not st.unsettled:
            return
        st.settling, st.folded, st.unsettled = True, False, False
        _walk(st, programs)
        st.settling = False
        if not st.folded:
            return


def _stabilise(st: State, programs: list[tuple[CheckedProbe, Context]]) -> None:
    for _ in range(MAX_WALKS):
        st.changed = st.unsettled = False
        _walk(st, programs)
        if not st.changed and not default_values(st):
            return


def _walk(st: State, programs: list[tuple[CheckedProbe, Context]]) -> None:
    for program, ctx in programs:
        st.ctx = ctx
        st.scopes = [{}]
        st.loops.clear()
        st.loop_depth = 0
        if program.predicate is not None:
            program.predicate = condition(st, program.predicate, _predicate_span(program.predicate))
        program.body = _check_stmt.block(st, program.body)


def _predicate_span(e: ast.Expr) -> ast.Span:
    return e.span


def _check_iterators(st: State, programs: list[tuple[CheckedProbe, Context]], script: ast.Script) -> None:
    for program, _ in programs:
        if program.provider == "iter" and len(script.probes[program.index].attach) > 1:
            st.fatal(script.probes[program.index].span, "Only single iter attach point is allowed.")


def _check_limits(st: State, programs: list[tuple[CheckedProbe, Context]]) -> None:
    """Numbers of programs and probes against max_bpf_progs and max_probes."""
    config = st.config
    attached = 0
    for i, (program, ctx) in enumerate(programs, 1):
        attached += len(program.names)
        if i > config.max_bpf_progs or (attached > config.max_probes and ctx.reads_name):
            st.fatal(
                program.span,
                f"Your program is trying to generate more than {config.max_bpf_progs} BPF programs, which exceeds the "
                f"current limit of {config.max_bpf_progs}",
                "You can increase the limit through the BPFTRACE_MAX_BPF_PROGS environment variable.",
            )
            return
        if attached > config.max_probes:
            st.fatal(
                program.span,
                f"Can't attach to {attached} probes because it exceeds the current limit of "
                f"{config.max_probes} probes.",
                "You can increase the limit through the BPFTRACE_MAX_PROBES environment variable.",
            )
            return


def _check_settled(st: State) -> None:
    """A constant was made of a type: it must still be that type."""
    st.recheck = True
    st.quiet += 1
    for operand, t in st.settled:
        st.ctx = Context()
        if isinstance(operand, ast.Variable):
            now = operand.slot.type
        elif isinstance(operand, ast.MapRef):
            now = st.map(operand.name, operand.span).value
        else:
            continue
        if now != t and settle(now) != settle(t) and isinstance(operand, ast.Variable):
            st.error(
                operand.span,
                f"Type mismatch for {operand.name}: its type was used (by sizeof, typeinfo, ...) as '{settle(t)}' "
                f"and cannot become '{settle(now)}'",
                "declare it with its final type",
            )
    st.quiet -= 1
    st.recheck = False


def _finish(st: State, programs: list[tuple[CheckedProbe, Context]]) -> None:
    """Report errors, take the marks of inference away."""
    if not st.errors:
        for span, message, hint in st.unresolved:
            st.error(span, message, hint)
    st.env.warnings.extend(st.warnings)
    if st.errors:
        order = sorted(st.errors, key=lambda d: (d.file, d.line, d.col))
        failed = SourceError(order)
        failed.denied = st.denied
        raise failed
    slots: dict[int, ast.VariableSlot] = {}
    for e in st.flexible:
        e.type = settle(e.type)
        if isinstance(e, ast.Variable) and e.slot is not None:
            slots[id(e.slot)] = e.slot
    for slot in st.slots:
        if slot.type is not UNKNOWN:
            slot.type = settle(slot.type)
    for m in st.maps.values():
        m.key, m.value = settle(m.key), settle(m.value)


def _map_info(m: object) -> MapInfo:
    key: Type = m.key  # type: ignore[attr-defined]
    return MapInfo(
        m.name,  # type: ignore[attr-defined]
        key if m.keyed and key is not UNKNOWN else None,  # type: ignore[attr-defined]
        m.value,  # type: ignore[attr-defined]
        m.kind,  # type: ignore[attr-defined]
        m.max_entries,  # type: ignore[attr-defined]
        m.span,  # type: ignore[attr-defined]
    )


_MODULES = (_check_calls, _check_casts, expr)  # imported for what they register
