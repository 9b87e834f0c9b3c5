"""Arguments of calls against the table of functions."""

from __future__ import annotations

from . import ast
from ._check_convert import value
from ._check_expr import expr
from ._check_hints import refuse_float
from ._check_state import State
from ._check_types import UNKNOWN, as_integer, is_number, kind_name
from .builtins import Builtin

UNCHECKED = ("any", "name", "variable", "type", "key", "map")


def type_arguments(st: State, e: ast.Call) -> None:
    """Type the arguments of a call that is wrong anyway."""
    for i, a in enumerate(e.args):
        if isinstance(a, ast.Expr) and not isinstance(a, (ast.MapRef, ast.Name)):
            e.args[i] = expr(st, a)
        elif isinstance(a, ast.Expr):
            a.type = UNKNOWN


def counted(st: State, e: ast.Call, row: Builtin) -> bool:
    """Check the number of arguments."""
    given, least, most = len(e.args), row.at_least, row.at_most
    if least <= given <= most:
        return True
    if least == most:
        wants = "no arguments" if not least else "one argument" if least == 1 else f"{least} arguments"
        message = f"{row.name}() requires {wants} ({given} provided)"
    elif given < least:
        wants = "one argument" if least == 1 else f"{least} arguments"
        message = f"{row.name}() requires at least {wants} ({given} provided)"
    else:
        message = f"{row.name}() takes up to {'one argument' if most == 1 else f'{most} arguments'} ({given} provided)"
    st.error(e.span, message, row.signature[-1])
    type_arguments(st, e)
    e.type = row.returns or UNKNOWN
    return False


def check_arguments(st: State, e: ast.Call, row: Builtin) -> bool:
    """Type the arguments and check them against the table. False after an error."""
    if not counted(st, e, row):
        return False
    fine = True
    params = row.params.split()
    for i, a in enumerate(e.args):
        param = params[i] if i < len(params) else "any"
        kind = param.rstrip("!?")
        if kind in ("map", "name", "type"):
            continue
        if not isinstance(a, ast.Expr):
            st.error(a.span, f"{row.name}() expects an expression, not a type")
            fine = False
            continue
        a = e.args[i] = expr(st, a)
        if kind in UNCHECKED:
            continue
        a = e.args[i] = value(st, a)
        fine = check_argument(st, e, a, kind, "!" in param) and fine
    return fine


def check_argument(st: State, e: ast.Call, a: ast.Expr, kind: str, literal: bool) -> bool:
    t = as_integer(a.type)
    if t is UNKNOWN and not literal:
        return True
    matches = is_number(t) if kind == "int" else t.kind == kind
    if kind == "string" and t.kind == "probe":
        matches = True
    if literal and not (matches and isinstance(a, (ast.Integer, ast.String))):
        if t is UNKNOWN or (not st.settling and not st.final):
            st.unsettled = True
            return False
        st.error(e.span, f"{e.name}() expects a {kind} literal ({kind_name(t)} provided)")
        return False
    if not matches and kind in ("int", "pointer") and refuse_float(st, a):
        return False
    if not matches:
        st.error(e.span, f"{e.name}() only supports {kind} arguments ({kind_name(t)} provided)")
        return False
    return True
