"""Statements."""

from __future__ import annotations

from .. import ast
from ._expr import arithmetic, condition
from ._layout import size_of
from ._memory import build, zero
from ._program import CALLS, STATEMENTS, Program


def _expression(p: Program, s: ast.ExprStmt) -> None:
    e = s.expr
    if isinstance(e, ast.Call | ast.Unary | ast.BlockExpr | ast.IfExpr | ast.Ternary):
        if isinstance(e, ast.Call):
            _call_statement(p, e)
        else:
            p.expr(e)
        return
    if isinstance(e, ast.Name) and e.name in CALLS and e.name not in ("pid", "tid", "comm", "nsecs", "ppid", "pcomm"):
        call = ast.Call(e.span, e.name, [])
        call.type = e.type
        CALLS[e.name](p, call)
        return
    p.expr(e)


def _call_statement(p: Program, e: ast.Call) -> None:
    p.expr(e)


def _assign(p: Program, s: ast.Assign) -> None:
    target = s.target
    if target is None:
        p.expr(s.value)
    elif isinstance(target, ast.MapRef):
        from ._maps import assign_map, compound_assign

        if s.op == "=":
            assign_map(p, target, s.value)
        else:
            compound_assign(p, target, s.op[:-1], s.value, s)
    elif isinstance(target, ast.Variable):
        _assign_variable(p, target, s.op, s.value, s)
    else:
        raise p.error("only variables and maps can be assigned to", s)


def _assign_variable(p: Program, target: ast.Variable, op: str, value: ast.Expr, node: ast.Node) -> None:
    t = target.slot.type
    where = p.variable(target.slot)
    if op != "=":
        old = p.f.load(where)
        new = arithmetic(p, op[:-1], old, p.integer(value), t, value.type, t, node)
        p.store_variable(new, where)
    elif t.in_register:
        number = p.integer(value)
        p.store_variable(p.f.truncate(number, size_of(t), t.signed) if t.is_int else number, where)
    elif _reads(value, target.slot):
        temporary = p.stack_or_scratch(size_of(t))
        build(p, value, temporary, t, pad=t.kind == "buffer")
        from ._memory import copy

        copy(p, where, temporary, size_of(t), 1)
    else:
        build(p, value, where, t, pad=t.kind == "buffer")


def _reads(e: object, slot: ast.VariableSlot) -> bool:
    """Whether an expression mentions a variable (then it cannot be built on top of it)."""
    if isinstance(e, ast.Variable):
        return e.slot is slot
    if isinstance(e, list | tuple):
        return any(_reads(item, slot) for item in e)
    if isinstance(e, ast.Node):
        return any(_reads(getattr(e, field), slot) for field in e._fields)
    return False


def _declare(p: Program, s: ast.Declare) -> None:
    slot = s.target.slot
    if slot is None or slot.type is None or slot.type.kind == "none":
        return
    if s.value is not None:
        mark = p.scratch_used
        _assign_variable(p, s.target, "=", s.value, s)
        p.scratch_used = mark
        return
    where = p.variable(slot)
    if slot.type.in_register:
        p.f.store("0", where)
    else:
        zero(p, where, size_of(slot.type), 1)


def _if(p: Program, s: ast.If) -> None:
    f = p.f
    then, otherwise, done = f.label("then"), f.label("else"), f.label("fi")
    f.cond_br(condition(p, s.condition), then, otherwise if s.otherwise else done)
    f.start(then)
    p.statements(s.then)
    f.br(done)
    if s.otherwise:
        f.start(otherwise)
        p.statements(s.otherwise)
        f.br(done)
    f.start(done)


def _return(p: Program, s: ast.Return) -> None:
    value = p.integer(s.value) if s.value is not None else "0"
    # The kernel takes no result but 0 from tracing programs (check_return_code in the verifier).
    if s.value is not None and not p.in_callback and p.probe.provider not in ("iter", "fentry", "fexit"):
        p.return_value(value)
    else:
        p.leave()
    p.f.start(p.f.label("dead"))


def _block(p: Program, s: ast.Block) -> None:
    p.statements(s.body)


STATEMENTS.update(
    {
        ast.ExprStmt: _expression,
        ast.Assign: _assign,
        ast.Declare: _declare,
        ast.If: _if,
        ast.Return: _return,
        ast.Block: _block,
    }
)
