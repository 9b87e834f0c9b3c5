"""Calls: arguments against the table of functions, and what each function asks for beyond it."""

from __future__ import annotations

from . import _check_builtins, ast, fold
from ._check_builtins import stack_call, task_struct
from ._check_convert import cast_to, value
from ._check_expr import EXPRESSIONS, expr, literal_bool, type_of
from ._check_format import check_format
from ._check_maps import key, whole
from ._check_names import suggest, with_space
from ._check_state import State
from ._check_types import (
    CASTABLE,
    FLEX,
    STACKS,
    UNKNOWN,
    as_integer,
    integer,
    is_number,
    promote,
    same,
    size_of,
    stored,
    text,
)
from .builtins import CLOCKS, FORMATTED, MAP_FUNCTIONS, NAMES, TABLE, Builtin
from .types import BOOL, BPF, KERNEL, NONE, UINT8, UINT16, UINT32, UINT64, USER, Type, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

UNCHECKED = ("any", "name", "variable", "type", "key", "map")
KIND_FUNC, KIND_VAR = 12, 14  # BTF_KIND_* of linux/btf.h
BUFFER_HEADER = 4  # bytes that a buffer's length takes of max_strlen
REGISTERS = {
    "x86_64": [
        "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip",
        "cs", "flags", "sp", "ss",
    ],
    "aarch64": [f"r{i}" for i in range(31)] + [f"x{i}" for i in range(31)] + ["sp", "pc", "pstate", "lr"],
}


def _call(st: State, e: ast.Call) -> ast.Expr:
    name = e.name
    row = TABLE.get(name)
    if row is None or row.category == "statement":
        _type_arguments(st, e)
        st.error(e.span, f"Unknown function: '{name}'", suggest(name, TABLE))
        e.type = UNKNOWN
        return e
    st.ctx.uses.add(name)
    if name in MAP_FUNCTIONS:
        st.error(e.span, f"{name}() must be assigned directly to a map", f"write @name = {name}(...)")
        _type_arguments(st, e)
        e.type = UNKNOWN
        return e
    if not e.args and name in NAMES:
        return expr(st, ast.Name(e.span, name))
    if not _allowed(st, e, row):
        _type_arguments(st, e)
        e.type = row.returns or UNKNOWN
        return e
    if name in FORMATTED:
        return _formatted(st, e, row)
    special = _EARLY.get(name)
    if special is not None:
        return special(st, e) if _counted(st, e, row) else e
    if not check_arguments(st, e, row):
        e.type = row.returns or UNKNOWN
        return e
    e.type = row.returns if row.returns is not None else UNKNOWN
    handler = _HANDLERS.get(name)
    return handler(st, e) if handler is not None else e


EXPRESSIONS[ast.Call] = _call


def _type_arguments(st: State, e: ast.Call) -> None:
    """Type the arguments of a call that is wrong anyway."""
    for i, a in enumerate(e.args):
        if isinstance(a, ast.Expr) and not isinstance(a, (ast.MapRef, ast.Name)):
            e.args[i] = expr(st, a)
        elif isinstance(a, ast.Expr):
            a.type = UNKNOWN


def _allowed(st: State, e: ast.Call, row: Builtin) -> bool:
    if row.unsafe and not st.env.unsafe:
        st.error(
            e.span, f"{row.name}() is an unsafe function being used in safe mode",
            f"{row.name}() is unsafe. To use you need the --unsafe flag",
        )  # fmt: skip
        return False
    if row.probes and st.ctx.provider and st.ctx.provider not in row.probes:
        if row.name == "path":
            st.error(e.span, "The path function can only be used with 'fentry', 'fexit', 'iter' probes")
        elif row.name.startswith("signal"):
            st.error(e.span, f"{row.name}() can not be used for this probetype {st.ctx.provider}")
        else:
            st.error(
                e.span,
                f'{row.name} can not be used with "{st.ctx.provider}" probes',
                "works in " + ", ".join(row.probes),
            )
        return False
    return True


# ---------------------------------------------------------------- arguments


def _counted(st: State, e: ast.Call, row: Builtin) -> bool:
    """Check the number of arguments."""
    given, least, most = len(e.args), row.at_least, row.at_most
    if least <= given <= most:
        return True
    if least == most:
        wants = "no arguments" if not least else "one argument" if least == 1 else f"{least} arguments"
        message = f"{row.name}() requires {wants} ({given} provided)"
    elif given < least:
        message = f"{row.name}() requires at least {'one argument' if least == 1 else f'{least} arguments'} ({given} provided)"
    else:
        message = f"{row.name}() takes up to {'one argument' if most == 1 else f'{most} arguments'} ({given} provided)"
    st.error(e.span, message, row.signature[-1])
    _type_arguments(st, e)
    e.type = row.returns or UNKNOWN
    return False


def check_arguments(st: State, e: ast.Call, row: Builtin) -> bool:
    """Type the arguments and check them against the table. False after an error."""
    if not _counted(st, e, row):
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
        fine = _check_argument(st, e, a, kind, "!" in param) and fine
    return fine


def kind_name(t: Type) -> str:
    """What messages call the kind of a type."""
    if t.kind in ("enum", "int"):
        return "int"
    return {"none": "void", "struct": "c_type", "union": "c_type"}.get(t.kind, t.kind)


def _check_argument(st: State, e: ast.Call, a: ast.Expr, kind: str, literal: bool) -> bool:
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
    if not matches:
        st.error(e.span, f"{e.name}() only supports {kind} arguments ({kind_name(t)} provided)")
        return False
    return True


# ---------------------------------------------------------------- format strings


def _formatted(st: State, e: ast.Call, row: Builtin) -> ast.Expr:
    e.type = NONE
    if not _counted(st, e, row):
        return e
    first = e.args[0]
    if not isinstance(first, ast.String):
        first = e.args[0] = expr(st, first) if isinstance(first, ast.Expr) else first
    if not isinstance(first, ast.String):
        t = first.type if isinstance(first, ast.Expr) else UNKNOWN
        if t is not UNKNOWN or st.final:
            st.error(e.span, f"{e.name}() expects a string literal ({kind_name(t)} provided)")
        return e
    first.type = text(len(fold.string_bytes(first)) + 1)
    for i, a in enumerate(e.args[1:], 1):
        if isinstance(a, ast.Expr):
            e.args[i] = expr(st, a)
    if e.name == "fail":
        return _fail(st, e)
    if st.final:
        check_format(st, e, first)
    return e


def _fail(st: State, e: ast.Call) -> ast.Expr:
    if st.dead or st.quiet or not (st.final or not st.unsettled):
        return e
    if not all(isinstance(a, ast.Expr) and fold.is_literal(a) for a in e.args):
        st.error(e.span, "fail() arguments need to be literals")
        return e
    from ._check_format import render

    st.error(e.span, render(e))
    return e


# ---------------------------------------------------------------- functions that look at their arguments first


def _names(allowed: tuple[str, ...], what: str) -> Callable[[State, ast.Call], ast.Expr]:
    def check(st: State, e: ast.Call) -> ast.Expr:
        a = e.args[0]
        e.type = TABLE[e.name].returns or UINT64
        if isinstance(a, ast.Name) and a.name in allowed:
            a.type = Type("timestamp_mode", mode=a.name)
            if e.name == "nsecs":
                e.type = UINT64
            return e
        given = a.name if isinstance(a, ast.Name) else "an expression"
        st.error(a.span, f"Invalid {what}: {given} (expects: {' or '.join(allowed)})")
        if isinstance(a, ast.Expr):
            a.type = UNKNOWN
        return e

    return check


def _delete(st: State, e: ast.Call) -> ast.Expr:
    """`delete(@m, k)`, `delete(@m)` and the old `delete(@m[k])`, which becomes the first."""
    e.type = BOOL
    first = e.args[0]
    if isinstance(first, ast.MapRef) and first.key is not None and len(e.args) == 1:
        bare = ast.MapRef(first.span, first.name)
        e.args = [bare, first.key]
        first = bare
    if not isinstance(first, ast.MapRef) or first.key is not None:
        st.error(e.args[0].span, "delete() expects a map argument", "write delete(@name, key)")
        _type_arguments(st, e)
        return e
    m = whole(st, first, "delete")
    if m is None:
        return e
    if len(e.args) == 1:
        if m.keyed:
            st.error(
                e.span,
                "call to delete() with a single argument expects a map without explicit keys (scalar map)",
                f"delete one key with delete({m.name}, key), all with clear({m.name})",
            )
        return e
    return _with_key(st, e, "delete() with two arguments")


def _with_key(st: State, e: ast.Call, what: str) -> ast.Expr:
    first = e.args[0]
    m = (
        whole(st, first, e.name)
        if not isinstance(first, ast.MapRef) or first.key is not None
        else st.map(first.name, first.span)
    )
    if m is None:
        _type_arguments(st, e)
        return e
    if isinstance(first, ast.MapRef):
        first.type = m.value
    k = e.args[1]
    if not isinstance(k, ast.Expr):
        st.error(k.span, f"{e.name}() expects a key, not a type")
        return e
    if m.keyed is None:
        m.keyed, m.keyed_span = True, e.span
    elif not m.keyed:
        st.error(e.span, f"call to {what} expects a map with explicit keys (non-scalar map)")
        e.args[1] = expr(st, k)
        return e
    e.args[1] = key(st, m, k, e.span)
    m.read = True
    return e


def _has_key(st: State, e: ast.Call) -> ast.Expr:
    e.type = BOOL
    return _with_key(st, e, "has_key()")


def _find(st: State, e: ast.Call) -> ast.Expr:
    e.type = BOOL
    e = _with_key(st, e, "find")  # type: ignore[assignment]
    v = e.args[2]
    first = e.args[0]
    if not isinstance(v, ast.Variable) or not isinstance(first, ast.MapRef):
        st.error(v.span, "find() expects a variable as its third argument", "write find(@name, key, $value)")
        return e
    found = st.find(v.name)
    if found is None:
        slot, depth = st.declare(v), len(st.scopes) - 1
    else:
        slot, depth = found
        v.slot = slot
    st.use(slot, depth)
    st.assigned.add(id(slot))
    t = as_integer(st.map(first.name, first.span).value)
    if not st.refine(slot, t, v.span):
        st.error(
            v.span,
            f"Type mismatch for {v.name}: trying to assign value of type '{t}' when variable already has a type '{slot.type}'",
        )
    v.type = slot.type
    return e


def _len(st: State, e: ast.Call) -> ast.Expr:
    e.type = integer(8, True)
    a = e.args[0]
    if isinstance(a, ast.MapRef) and a.key is None:
        m = st.map(a.name, a.span)
        if not (m.value.kind in STACKS and m.keyed is False):
            m = whole(st, a, "len") or m
            if m.keyed is False:
                st.error(e.span, "call to len() expects a map with explicit keys (non-scalar map)")
            return e
    if not isinstance(a, ast.Expr):
        st.error(a.span, "len() expects a map or stack to be provided")
        return e
    a = e.args[0] = expr(st, a)
    if a.type is not UNKNOWN and a.type.kind not in STACKS:
        st.error(e.span, "call to len() expects a map, ustack, or kstack")
    return e


def _print(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    a = e.args[0]
    for i, extra in enumerate(e.args[1:], 1):
        if isinstance(extra, ast.Expr):
            x = e.args[i] = expr(st, extra)
            if not _check_argument(st, e, x, "int", True):
                return e
    if isinstance(a, ast.MapRef) and a.key is None:
        m = whole(st, a, "print")
        if m is not None and m.value.kind == "stats" and len(e.args) > 1:
            st.warn(e.span, "print()'s top and div arguments are ignored when used on stats() maps.")
        if st.loop_depth:
            st.warn(
                e.span,
                "Due to it's asynchronous nature using 'print()' in a loop can lead to unexpected behavior. The map will "
                "likely be updated before the runtime can 'print' it.",
            )
        return e
    if not isinstance(a, ast.Expr):
        st.error(a.span, "print() expects an expression, not a type")
        return e
    a = e.args[0] = value(st, expr(st, a))
    t = a.type
    if t.kind in ("hist", "lhist", "tseries"):
        st.error(e.span, f"Map type {t} cannot print the value of individual keys. You must print the whole map.")
    elif t.kind in ("none", "void", "stack_mode", "timestamp_mode") or (t.kind == "pointer" and t.space == "ctx"):
        st.error(e.span, f"{'void' if t.kind == 'none' else t} type passed to print() is not printable")
    elif len(e.args) != 1 and t is not UNKNOWN:
        st.error(e.span, f"Non-map print() only takes 1 argument, {len(e.args)} found")
    return e


def _map_only(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    whole(st, e.args[0], e.name)
    return e


def _is_scalar(st: State, e: ast.Call) -> ast.Expr:
    m = whole(st, e.args[0], "is_scalar")
    if not st.settling and not st.final:
        st.unsettled = True
        e.type = BOOL
        return e
    st.folded = True
    return literal_bool(e, m is not None and not m.keyed)


def _question(test: Callable[[State, ast.Expr], bool]) -> Callable[[State, ast.Call], ast.Expr]:
    """A function that asks for a type: folded once types are stable."""

    def check(st: State, e: ast.Call) -> ast.Expr:
        a, t = type_of(st, e.args[0])
        e.args[0] = a
        e.type = BOOL
        if not isinstance(a, ast.Expr) or t is None or t is UNKNOWN or not (st.settling or st.final):
            st.unsettled = True
            return e
        st.folded = True
        st.settled.append((a, t))
        return literal_bool(e, test(st, a))

    return check


def _assert_str(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    a, t = type_of(st, e.args[0])
    e.args[0] = a
    if t is not None and t is not UNKNOWN and not _is_text(t):
        st.error(e.span, "string-like values must be either strings, arrays or pointers")
    return e


def _is_text(t: Type) -> bool:
    if t.kind == "string":
        return True
    return t.kind in ("array", "pointer") and t.element is not None and t.element.kind == "int" and t.element.size == 1


def _container_of(st: State, e: ast.Call) -> ast.Expr:
    """`container_of(p, struct s, m)` is `(struct s *)((uint64)p - offsetof(struct s, m))`."""
    e.type = UNKNOWN
    what, member = e.args[1], e.args[2]
    fields: list[str] = []
    while isinstance(member, ast.Member):
        fields.insert(0, member.name)
        member = member.operand
    base = e.args[0]
    if not isinstance(member, ast.Name) or not isinstance(base, ast.Expr):
        st.error(e.span, "container_of() expects a pointer, a type and a member")
        return e
    fields.insert(0, member.name)
    if isinstance(what, ast.TypeName):
        to = ast.TypeName(what.span, what.base, [*what.suffixes, "*"], what.of)
    else:
        to = ast.TypeName(what.span, "", ["*"], what)
    address = ast.Cast(base.span, ast.TypeName(base.span, "uint64"), base)
    offset = ast.OffsetOf(e.span, what, fields)
    return expr(st, ast.Cast(e.span, to, ast.Binary(e.span, "-", address, offset)))


def _static_assert(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    condition, message = e.args[0], e.args[1]
    if not isinstance(condition, ast.Expr) or not isinstance(message, ast.String):
        st.error(e.span, "static_assert() expects a condition and a string literal")
        return e
    condition = e.args[0] = expr(st, condition)
    message.type = text(len(message.value) + 1)
    if not isinstance(condition, (ast.Integer, ast.Boolean)):
        st.unsettled = True
        st.error(e.span, "static_assert() needs a condition that is known when compiling")
    elif not fold.truth(condition) and not st.dead:
        st.error(e.span, message.value)
    return e


def _retype_name(st: State, e: ast.Call) -> ast.Expr:
    """`sizeof(x)` and the like that were parsed as calls."""
    a = e.args[0]
    if e.name == "sizeof":
        return expr(st, ast.SizeOf(e.span, a))
    return expr(st, ast.TypeInfo(e.span, a))


_EARLY: dict[str, Callable[[State, ast.Call], ast.Expr]] = {
    "pid": _names(("curr_ns", "init"), "PID namespace mode"),
    "tid": _names(("curr_ns", "init"), "PID namespace mode"),
    "nsecs": _names(CLOCKS, "timestamp mode"),
    "kstack": stack_call,
    "ustack": stack_call,
    "delete": _delete,
    "has_key": _has_key,
    "find": _find,
    "len": _len,
    "print": _print,
    "clear": _map_only,
    "zero": _map_only,
    "is_scalar": _is_scalar,
    "is_array": _question(lambda st, a: a.type.kind == "array"),
    "is_integer": _question(lambda st, a: is_number(a.type)),
    "is_unsigned_integer": _question(lambda st, a: is_number(a.type) and not a.type.signed),
    "is_ptr": _question(lambda st, a: a.type.kind == "pointer"),
    "is_str": _question(lambda st, a: a.type.kind == "string"),
    "is_literal": _question(lambda st, a: fold.is_literal(a)),
    "assert_str": _assert_str,
    "container_of": _container_of,
    "static_assert": _static_assert,
    "sizeof": _retype_name,
    "typeinfo": _retype_name,
}


# ---------------------------------------------------------------- functions after their arguments are typed


def _arg(e: ast.Call, i: int) -> ast.Expr:
    a = e.args[i]
    assert isinstance(a, ast.Expr)
    return a


def _type(e: ast.Call, i: int) -> Type:
    return as_integer(_arg(e, i).type)


def _number_value(e: ast.Call, i: int) -> int | None:
    a = e.args[i] if i < len(e.args) else None
    return a.value if isinstance(a, ast.Integer) else None


def _str(st: State, e: ast.Call) -> ast.Expr:
    limit = st.config.max_strlen
    a, t = _arg(e, 0), _type(e, 0)
    length = _number_value(e, 1)
    if length is not None and length < 0:
        st.error(e.span, f"str() cannot use negative length ({length})")
        length = None
    if length is not None and length + 1 > limit:
        st.warn(
            e.span,
            f"length param ({length}) is too long and will be shortened to {limit} bytes (see BPFTRACE_MAX_STRLEN)",
        )
    size = limit if length is None or length + 1 > limit else length + 1
    if isinstance(a, (ast.Integer, ast.String)) and (len(e.args) == 1 or length is not None):
        if isinstance(a, ast.String):
            data = fold.string_bytes(a)
        else:
            data = (a.text or str(a.value)).encode()
        return expr(st, fold.new_string(e.span, data if length is None else data[:length]))
    e.type = text(size)
    if t is not UNKNOWN and t.kind not in ("string", "int", "enum", "pointer") and not _is_text(t):
        st.error(e.span, f"str() expects a string, integer or a pointer type as first argument ({t} provided)")
    return e


def _buf(st: State, e: ast.Call) -> ast.Expr:
    limit = st.config.max_strlen - BUFFER_HEADER
    t = _type(e, 0)
    length = _number_value(e, 1)
    size = limit
    if t is not UNKNOWN and t.kind not in ("int", "enum", "string", "pointer", "array"):
        st.error(e.span, f"buf() expects an integer, string, or array argument but saw {kind_name(t)}")
    elif len(e.args) == 1 and t.kind != "array" and t is not UNKNOWN:
        st.error(e.span, f"buf() expects a length argument for non-array type {kind_name(t)}")
    if length is not None and length < 0:
        st.error(e.span, f"buf() cannot use negative length ({length})")
    elif length is not None:
        size = length
    elif len(e.args) == 1:
        size = size_of(t)
    e.type = Type("buffer", max(1, min(size, limit)), space=BPF)
    return e


def _symbol(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and not is_number(t) and t.kind != "pointer":
        st.error(e.span, f"{e.name}() expects an integer or pointer argument")
    e.args[0] = value(st, _arg(e, 0))
    return e


def _space(st: State, e: ast.Call) -> ast.Expr:
    space = KERNEL if e.name == "kptr" else USER
    t = _type(e, 0)
    if t is UNKNOWN:
        e.type = t
    elif t.kind == "pointer":
        e.type = with_space(t, space)
    elif is_number(t):
        e.type = integer(8, t.signed and t.mode != FLEX, space)
    else:
        st.error(e.span, f"{e.name}() only supports integer or pointer arguments ({kind_name(t)} provided)")
    return e


def _bswap(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    e.type = integer(t.size or 8, False) if is_number(t) else UNKNOWN
    return e


def _ntop(st: State, e: ast.Call) -> ast.Expr:
    index = len(e.args) - 1
    if index and not _check_argument(st, e, _arg(e, 0), "int", False):
        return e
    t = _type(e, index)
    if t is UNKNOWN:
        return e
    if not is_number(t) and t.kind not in ("string", "array"):
        st.error(e.span, f"ntop() expects an integer or array argument, got {kind_name(t)}")
    elif t.kind in ("string", "array") and size_of(t) not in (4, 16):
        st.error(e.span, "ntop() argument must be 4 or 16 bytes in size")
    return e


def _pton(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    assert isinstance(a, ast.String)
    data = parse_address(a.value)
    if data is None:
        what = "a valid" if "." in a.value or ":" in a.value else "an string argument of an"
        st.error(e.span, f"pton() expects {what} IPv4/IPv6 address, got {a.value}")
        data = bytes(4)
    e.type = Type("array", len(data), element=UINT8, count=len(data), space=BPF)
    return e


def parse_address(address: str) -> bytes | None:
    """The 4 or 16 bytes of an IP address."""
    import socket

    for family, mark in ((socket.AF_INET, "."), (socket.AF_INET6, ":")):
        if mark in address and (family == socket.AF_INET6 or ":" not in address):
            try:
                return socket.inet_pton(family, address)
            except (OSError, ValueError):
                return None
    return None


def _macaddr(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is UNKNOWN:
        return e
    if isinstance(_arg(e, 0), ast.String):
        st.error(e.span, "macaddr() does not support literal string arguments")
    elif not is_number(t) and t.kind not in ("array", "pointer", "string", "buffer"):
        st.error(e.span, f"macaddr() only supports array or pointer arguments ({kind_name(t)} provided)")
    elif t.kind in ("array", "string", "buffer") and size_of(t) < 6:
        st.error(e.span, "macaddr() argument must be at least 6 bytes in size")
    return e


def _reg(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    known = REGISTERS.get(st.env.arch, REGISTERS["x86_64"])
    if isinstance(a, ast.String) and a.value not in known:
        st.error(
            e.span,
            f"'{a.value}' is not a valid register on this architecture ({st.env.arch})",
            suggest(a.value, known) or "registers: " + ", ".join(known),
        )
    e.type = UINT64.replace(space=st.ctx.space) if st.ctx.space else UINT64
    return e


def _kernel_address(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    per_cpu = e.name == "percpu_kaddr" and isinstance(a, ast.String) and st.final
    if per_cpu and st.btf is not None and st.btf.find(a.value, KIND_VAR) is None:  # type: ignore[attr-defined]
        st.error(e.span, f'Could not resolve variable "{a.value}" from BTF')  # type: ignore[attr-defined]
    e.type = UINT64.replace(space=KERNEL)
    return e


def _uaddr(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    assert isinstance(a, ast.String)
    if not a.value or not all(c.isalnum() or c in "./_-" for c in a.value):
        st.error(e.span, f'uaddr() expects a string that is a valid symbol as input ("{a.value}" provided)')
    size = 8
    sizes = getattr(st.env.catalogue, "symbol_size", None)
    if sizes is not None and st.ctx.target:
        size = sizes(st.ctx.target, a.value) or 8
    element = {1: UINT8, 2: UINT16, 4: UINT32}.get(size, UINT64)
    e.type = pointer(element, USER)
    return e


def _path(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and t.kind not in ("struct", "union", "pointer"):
        st.error(e.span, f"path() only supports pointer or C type argument ({kind_name(t)} provided)")
    size = _number_value(e, 1)
    if size is not None and size < 0:
        st.error(e.span, "path: invalid size value, need non-negative literal")
        size = None
    e.type = text(min(size, st.config.max_strlen) if size else st.config.max_strlen)
    return e


def _join(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and not is_number(t) and t.kind != "pointer":
        st.error(e.span, f"join() only supports int or pointer arguments ({kind_name(t)} provided)")
    return e


def _strftime(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 1)
    clock = "boot"
    if isinstance(a, ast.Call) and a.name == "nsecs" and a.args and isinstance(a.args[0], ast.Name):
        clock = a.args[0].name
    if clock == "monotonic":
        st.error(e.span, "strftime() can not take a monotonic timestamp")
    elif isinstance(a, ast.Integer) and a.value < 0:
        st.error(e.span, "strftime() does not accept negative timestamps")
    form = e.args[0]
    e.type = Type("timestamp", 8, mode=clock, name=form.value if isinstance(form, ast.String) else "")
    return e


def _strncmp(st: State, e: ast.Call) -> ast.Expr:
    n = _number_value(e, 2)
    if n is not None and n < 0:
        st.error(e.span, "Builtin strncmp requires a non-negative literal")
    return e


def _memcmp(st: State, e: ast.Call) -> ast.Expr:
    for i in (0, 1):
        t = _type(e, i)
        if t is not UNKNOWN and t.kind not in (
            "string",
            "array",
            "buffer",
            "pointer",
            "struct",
            "union",
            "tuple",
            "record",
        ):
            st.error(e.span, f"memcmp() does not compare {kind_name(t)}")
    n = _number_value(e, 2)
    if n is not None and n < 0:
        st.error(e.span, "memcmp() requires a non-negative literal")
    return e


def _text_function(st: State, e: ast.Call) -> ast.Expr:
    """strlen, strcap, str_concat: of strings, character arrays and pointers."""
    for i in range(len(e.args)):
        t = _type(e, i)
        if t is not UNKNOWN and not _is_text(t):
            st.error(e.span, f"{e.name}(): string-like values must be either strings, arrays or pointers, found {t}")
    if e.name == "str_concat":
        e.type = text(st.config.max_strlen)
    elif e.name == "strcap" and _type(e, 0).kind in ("string", "array"):
        if not (st.settling or st.final):
            st.unsettled = True
            return e
        t = _type(e, 0)
        st.settled.append((_arg(e, 0), _arg(e, 0).type))
        return expr(st, ast.Integer(e.span, t.count if t.kind == "array" else t.size))
    return e


def _task(st: State, e: ast.Call) -> ast.Expr:
    """ppid(task) and kin: the argument must point to a task."""
    given = _type(e, 0)
    wanted = task_struct(st)
    if given is not UNKNOWN and not is_number(given) and (wanted is None or promote(wanted, given) is None):
        st.error(e.span, f"{e.name}() expects a pointer to struct task_struct ({given} provided)")
    return e


def _signal(st: State, e: ast.Call) -> ast.Expr:
    a, t = _arg(e, 0), _type(e, 0)
    if isinstance(a, ast.String):
        number = signal_number(a.value)
        if number is None:
            st.error(e.span, f"Invalid string for signal: {a.value}", suggest(a.value, _signals()))
            return e
        e.args[0] = expr(st, ast.Integer(a.span, number))
    elif isinstance(a, ast.Integer):
        if not 1 <= a.value <= 64:
            st.error(e.span, f"{e.name}() accepts a string literal or an integer between 1 and 64 (inclusive)")
    elif t is not UNKNOWN and not is_number(t):
        st.error(e.span, f"{e.name}() accepts a string literal or an integer")
    return e


def _signals() -> dict[str, int]:
    import signal

    return {s.name: int(s) for s in signal.Signals}


def signal_number(name: str) -> int | None:
    """SIGUSR1 or USR1 -> 10."""
    known = _signals()
    return known.get(name) or known.get("SIG" + name)


def _socket_cookie(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and (t.element is None or t.element.kind != "struct" or t.element.name != "sock"):
        st.error(e.span, f"socket_cookie() only supports 'struct sock *' as the argument ('{t}' provided)")
    return e


def _is_err(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and t.kind not in ("pointer", "int"):
        st.error(e.span, f"is_err() expects a pointer ({t} provided)")
    return e


def _assert(st: State, e: ast.Call) -> ast.Expr:
    from ._check_expr import condition

    e.args[0] = condition(st, _arg(e, 0))
    return e


def _kfunc(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    known = st.btf is not None and isinstance(a, ast.String) and st.btf.find(a.value, KIND_FUNC) is not None
    return literal_bool(e, known)


def _cgroupid(st: State, e: ast.Call) -> ast.Expr:
    """The id of a cgroup is its directory's inode number; only a compile on the traced machine can know it."""
    a = _arg(e, 0)
    assert isinstance(a, ast.String)
    import os

    try:
        number = os.stat(a.value).st_ino
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        st.error(e.span, f"Failed to read the id of cgroup {a.value}: {reason}")
        return e
    constant = ast.Integer(e.span, number, declared=UINT64)
    constant.type = UINT64
    return constant


_HANDLERS: dict[str, Callable[[State, ast.Call], ast.Expr]] = {
    "str": _str,
    "buf": _buf,
    "ksym": _symbol,
    "usym": _symbol,
    "kptr": _space,
    "uptr": _space,
    "bswap": _bswap,
    "ntop": _ntop,
    "pton": _pton,
    "macaddr": _macaddr,
    "reg": _reg,
    "kaddr": _kernel_address,
    "percpu_kaddr": _kernel_address,
    "uaddr": _uaddr,
    "path": _path,
    "join": _join,
    "strftime": _strftime,
    "strncmp": _strncmp,
    "memcmp": _memcmp,
    "strlen": _text_function,
    "strcap": _text_function,
    "str_concat": _text_function,
    "ppid": _task,
    "pcomm": _task,
    "leader_comm": _task,
    "leader_tid": _task,
    "signal": _signal,
    "signal_thread": _signal,
    "socket_cookie": _socket_cookie,
    "is_err": _is_err,
    "assert": _assert,
    "kfunc_exist": _kfunc,
    "kfunc_allowed": _kfunc,
    "cgroupid": _cgroupid,
}

__all__ = ["CASTABLE", "_check_builtins", "cast_to", "same", "stored"]
