"""Maps: one key type and one value type for the whole script, aggregations, loops over maps."""

from __future__ import annotations

from . import ast
from ._check_convert import convert, value
from ._check_expr import EXPRESSIONS, expr, number
from ._check_names import suggest
from ._check_state import MapState, State
from ._check_types import (
    CASTABLE,
    UNKNOWN,
    as_integer,
    is_number,
    promote,
    settle,
    stored,
)
from .builtins import MAP_FUNCTIONS, TABLE
from .types import CONTEXT, Type

_EXAMPLES = {
    "count": "count()", "sum": "sum(retval)", "min": "min(retval)", "max": "max(retval)", "avg": "avg(retval)",
    "hist": "hist(retval)", "lhist": "lhist(rand % 10, 0, 10, 1)", "stats": "stats(arg2)",
    "tseries": "tseries(rand % 10, 10s, 1)",
}  # fmt: skip
_SINGLE = ("sum", "min", "max", "avg", "stats")  # of one integer, whose sign they keep
MAX_BUCKETS = 1000
MAX_SERIES = 1_000_000


# ---------------------------------------------------------------- access


def access(st: State, e: ast.MapRef) -> MapState:
    """Note that a map is used with or without a key here, and check the key against the map's."""
    m = st.map(e.name, e.span)
    keyed = e.key is not None
    if m.keyed is None:
        m.keyed, m.keyed_span = keyed, e.span
        st.changed = True
    elif m.keyed != keyed:
        _mixed(st, e, m)
        if e.key is not None:
            e.key = expr(st, e.key)
        return m
    if e.key is not None:
        e.key = key(st, m, e.key, e.span)
    return m


def _mixed(st: State, e: ast.MapRef, m: MapState) -> None:
    where = st.place(m.keyed_span)
    if m.keyed:
        message = (
            f"{e.name} used as a map without an explicit key (scalar map), previously used with an explicit key "
            "(non-scalar map)"
        )
    else:
        message = (
            f"{e.name} used as a map with an explicit key (non-scalar map), previously used without an explicit key "
            "(scalar map)"
        )
    st.error(e.span, message, f"the other use is at {where}" if where else "")


def key(st: State, m: MapState, k: ast.Expr, span: ast.Span) -> ast.Expr:
    """Check a key expression and convert it to the map's key type."""
    k = expr(st, k)
    t = k.type
    if t is UNKNOWN:
        return k
    if not _can_be_key(st, k, t):
        return k
    k = value(st, k)
    fine = st.refine_key(m, as_integer(t))
    if not st.final:
        return k
    converted = convert(st, k, m.key) if fine else None
    if converted is None:
        where = st.place(m.keyed_span)
        st.error(
            span,
            f"Argument mismatch for {m.name}: trying to access with arguments: '{settle(t)}' when map expects "
            f"arguments: '{settle(m.key)}'",
            f"{m.name} is first used at {where}" if where else "",
        )
        return k
    return converted


def _can_be_key(st: State, k: ast.Expr, t: Type) -> bool:
    if t.is_aggregation and t.kind not in CASTABLE:
        st.error(k.span, f"{t} cannot be part of a map key")
    elif t.kind in ("none", "void", "stack_mode", "timestamp_mode"):
        st.error(k.span, f"Invalid map key type: {'void' if t.kind == 'none' else t}")
    elif t.space == CONTEXT and t.kind == "pointer":
        st.error(k.span, "context cannot be part of a map key", "use one of its fields")
    else:
        return True
    return False


def _map_ref(st: State, e: ast.MapRef) -> ast.Expr:
    """A map read as a value."""
    m = access(st, e)
    note_read(st, m, e.span)
    e.type = m.value
    if st.final and m.value is UNKNOWN:
        st.unresolved.append((e.span, f"Undefined map: {e.name}", ""))
    return e


EXPRESSIONS[ast.MapRef] = _map_ref


def note_read(st: State, m: MapState, span: ast.Span) -> None:
    """Note that the value of a map, or whether it has one, is asked for here."""
    m.read = True
    if st.final and not st.quiet and m.read_span is None:
        m.read_span = span


def _near(st: State, name: str, otherwise: str) -> str:
    """A hint for a map that nothing is assigned to: the maps of the script with a name like it."""
    return suggest(name, [m.name for m in st.maps.values() if m.assigned and m.name != name]) or otherwise


def whole(st: State, e: ast.Expr | ast.TypeName, function: str) -> MapState | None:
    """A map as an argument; None (and an error) if it is something else."""
    if not isinstance(e, ast.MapRef) or e.key is not None:
        st.error(e.span, f"{function}() expects a map argument", f"write {function}(@name)")
        if isinstance(e, ast.Expr) and e.type is None:
            e.type = UNKNOWN
        return None
    m = st.map(e.name, e.span)
    e.type = m.value
    st.flexible.append(e)
    if st.final and m.value is UNKNOWN:
        st.error(e.span, f"Undefined map: {e.name}", _near(st, e.name, "nothing is ever assigned to it"))
    return m


# ---------------------------------------------------------------- assignment


def assign_map(st: State, s: ast.Assign, target: ast.MapRef) -> ast.Stmt:
    """`@m = value`, `@m[k] += value`, `@m = count()`."""
    st.map(target.name, target.span).assigned = True
    if isinstance(s.value, ast.BlockExpr) and _is_aggregation(s.value.value):
        # `@ = { let $a = 1; avg($a) }`
        inner = ast.Assign(s.span, target, s.op, s.value.value)
        from ._check_stmt import STATEMENTS

        return STATEMENTS[ast.Block](st, ast.Block(s.span, [*s.value.body, inner])) or s
    if _is_aggregation(s.value) and s.op == "=":
        _aggregate(st, s, target)
        return s
    if isinstance(s.value, ast.Name) and s.value.name in MAP_FUNCTIONS and not TABLE[s.value.name].at_least:
        s.value = ast.Call(s.value.span, s.value.name, [])
        _aggregate(st, s, target)
        return s
    m = access(st, target)
    s.value = v = expr(st, s.value)
    if s.op != "=":
        m.read = True
        from ._check_stmt import compound_type

        t = compound_type(st, s, m.value, v.type)
    else:
        t = v.type
        if not _can_be_value(st, s, m, t):
            target.type = m.value
            return s
    fine = st.refine_value(m, as_integer(t) if t.kind in CASTABLE else t, s.span)
    target.type = m.value
    st.flexible.append(target)
    if st.final and t is not UNKNOWN:
        s.value = _converted(st, s, m, v, t, fine)
    return s


def _is_aggregation(e: ast.Expr) -> bool:
    return isinstance(e, ast.Call) and e.name in MAP_FUNCTIONS


def _can_be_value(st: State, s: ast.Assign, m: MapState, t: Type) -> bool:
    if t.kind in ("none", "void", "stack_mode", "timestamp_mode"):
        st.error(s.span, f"Value '{'void' if t.kind == 'none' else t}' cannot be assigned to a map.")
        return False
    if t.is_aggregation and (t.kind not in CASTABLE or m.value is UNKNOWN or m.value.is_aggregation):
        hint = ""
        if t.kind in CASTABLE and isinstance(s.value, ast.MapRef):
            hint = (
                "Add a cast to integer if you want the value of the aggregate, e.g. "
                f"`{m.name} = (int64){s.value.name};`."
            )
        st.error(
            s.span,
            f"Map value '{t}' cannot be assigned from one map to another. The function that returns this type must be "
            f"called directly e.g. `{m.name} = {_EXAMPLES[t.kind]};`.",
            hint,
        )
        return False
    return True


def _converted(st: State, s: ast.Assign, m: MapState, v: ast.Expr, t: Type, fine: bool) -> ast.Expr:
    if s.op != "=" and fine:
        return value(st, v)
    converted = convert(st, v, m.value) if fine else None
    if converted is None:
        where = st.place(m.value_span)
        mixed = isinstance(s.target, ast.MapRef) and m.keyed is not None and (s.target.key is not None) != m.keyed
        report = st.consequence if mixed else st.error
        report(
            s.span,
            f"Type mismatch for {m.name}: trying to assign value of type '{settle(t)}' when map already has a type "
            f"'{settle(m.value)}'",
            f"{m.name} got its type at {where}" if where and m.value_span != s.span else "",
        )
        return v
    return converted


def _aggregate(st: State, s: ast.Assign, target: ast.MapRef) -> None:
    m = access(st, target)
    call = s.value
    assert isinstance(call, ast.Call)
    t = _aggregation_type(st, m, call)
    call.type = t
    target.type = m.value
    if t is UNKNOWN:
        return
    old = m.value
    new = t if old is UNKNOWN else (promote(old, t) if old.kind == t.kind else None)
    if new is None:
        where = st.place(m.value_span)
        other = " with other buckets" if old.kind == t.kind else ""
        st.error(
            call.span,
            f"Type mismatch for {m.name}: trying to assign value of type '{t}' when map already has a "
            f"type '{old}'{other}",
            f"{m.name} got its type at {where}" if where else "",
        )
        return
    if old is UNKNOWN:
        m.value_span = call.span
    if new != old:
        m.value = new
        st.changed = True
    target.type = call.type = m.value


def _aggregation_type(st: State, m: MapState, call: ast.Call) -> Type:
    """Check the arguments of a map function; the type it gives."""
    from ._check_arguments import check_arguments

    if not check_arguments(st, call, TABLE[call.name]):
        return UNKNOWN
    name = call.name
    if name == "count":
        return Type("count", 8)
    x = call.args[0]
    assert isinstance(x, ast.Expr)
    t = as_integer(x.type)
    if t is UNKNOWN:
        return UNKNOWN
    if not is_number(t):
        return UNKNOWN  # reported by check_arguments
    if name in _SINGLE:
        common = promote(m.argument, t) or t
        if common != m.argument:
            m.argument = common
            st.changed = True
        return Type(name, 8 if name == "sum" else 16, settle(common).signed)
    if name == "hist":
        return _hist(st, call)
    if name == "lhist":
        return _lhist(st, call)
    return _tseries(st, call)


def _constant(args: list[ast.Expr | ast.TypeName], i: int) -> int | None:
    e = args[i] if i < len(args) else None
    return e.value if isinstance(e, ast.Integer) else None


def _hist(st: State, call: ast.Call) -> Type:
    bits = 0
    if len(call.args) > 1:
        given = _constant(call.args, 1)
        if given is None:
            return UNKNOWN
        if not 0 <= given <= 5:
            st.error(call.span, f"hist: bits {given} must be 0..5")
            return UNKNOWN
        bits = given
    return Type("hist", bits=bits)


def _lhist(st: State, call: ast.Call) -> Type:
    low, high, step = (_constant(call.args, i) for i in (1, 2, 3))
    if low is None or high is None or step is None:
        return UNKNOWN
    if low < 0:
        st.error(call.span, "lhist: invalid min value (must be non-negative literal)")
    elif high < 0:
        st.error(call.span, "lhist: invalid max value (must be non-negative literal)")
    elif step < 1:
        st.error(call.span, f"lhist() step must be >= 1 ({step} provided)")
    elif low > high:
        st.error(call.span, f"lhist() min must be less than max (provided min {low} and max {high})")
    elif (high - low) // step > MAX_BUCKETS:
        st.error(
            call.span,
            f"lhist() too many buckets, must be <= {MAX_BUCKETS} (would need {(high - low) // step})",
            "make the step larger",
        )
    elif high - low < step:
        st.error(
            call.span,
            f"lhist() step is too large for the given range (provided step {step} for range {high - low})",
        )
    else:
        return Type("lhist", bounds=(low, high, step))
    return UNKNOWN


def _tseries(st: State, call: ast.Call) -> Type:
    interval, count = _constant(call.args, 1), _constant(call.args, 2)
    if interval is None or count is None:
        return UNKNOWN
    mode = ""
    if len(call.args) > 3 and isinstance(call.args[3], ast.String):
        mode = call.args[3].value
        if mode not in ("avg", "max", "min", "sum"):
            st.error(
                call.span,
                f'tseries() expects one of the following aggregation functions: avg, max, min, sum ("{mode}" provided)',
            )
            return UNKNOWN
    if interval < 1:
        st.error(call.span, f"tseries() interval_ns must be >= 1 ({interval} provided)")
    elif count < 1:
        st.error(call.span, f"tseries() num_intervals must be >= 1 ({count} provided)")
    elif count > MAX_SERIES:
        st.error(call.span, f"tseries() num_intervals must be < {MAX_SERIES} ({count} provided)")
    else:
        x = call.args[0]
        assert isinstance(x, ast.Expr)
        return Type("tseries", signed=settle(x.type).signed, count=count, mode=mode, bounds=(interval, count, 0))
    return UNKNOWN


# ---------------------------------------------------------------- loops over maps


def iterate(st: State, s: ast.ForMap) -> Type:
    """The type of the variable of `for ($kv : @map)`."""
    e = s.map
    if e.key is not None:
        st.error(e.span, "Loop expression does not support a map with a key", f"write for ({s.target.name} : {e.name})")
        return UNKNOWN
    m = st.map(e.name, e.span)
    e.type = m.value
    st.flexible.append(e)
    if m.keyed is False:
        st.error(e.span, f"{e.name} has no explicit keys (scalar map), and cannot be used for iteration")
        return UNKNOWN
    if m.value is UNKNOWN or m.key is UNKNOWN:
        if st.final:
            hint = _near(st, e.name, "nothing is ever assigned to it")
            st.unresolved.append((e.span, f"Undefined map: {e.name}", hint))
        return UNKNOWN
    if m.value.is_aggregation and m.value.kind not in CASTABLE:
        st.error(e.span, f"Loop expression does not support type: {m.value}")
        return UNKNOWN
    return Type("tuple", elements=(m.key, stored(as_integer(m.value))))


# ---------------------------------------------------------------- declarations and the end


def declare(st: State, d: ast.MapDeclaration, kinds: tuple[str, ...]) -> None:
    """`let @m = kind(n);`"""
    m = st.map(d.name, d.span)
    if d.kind not in kinds:
        st.error(d.span, f"Invalid bpf map type: {d.kind}", "Valid map types: " + ", ".join(kinds))
        return
    d.max_entries = number(st, d.max_entries)
    if not isinstance(d.max_entries, ast.Integer) or not 0 < d.max_entries.value < 1 << 32:
        st.error(d.span, f"{d.kind}() expects a positive integer literal", f"write let {d.name} = {d.kind}(1024);")
        return
    m.kind, m.max_entries = d.kind, d.max_entries.value
    m.span = d.span


def check_kinds(st: State) -> None:
    """In the end: declared kinds must fit the values."""
    for m in st.maps.values():
        if not m.kind:
            continue
        if m.value is UNKNOWN and m.keyed is None:
            if m.span is not None:
                st.warn(m.span, f"Unused map: {m.name}")
            continue
        per_cpu = m.kind.startswith("percpu")
        if m.value is not UNKNOWN and per_cpu != m.value.is_aggregation and m.span is not None:
            needed = "percpuhash" if m.value.is_aggregation else "hash"
            st.error(
                m.keyed_span or m.span,
                f"Incompatible map types. Type from declaration: {m.kind}. Type from value/key type: {needed}",
            )
        elif m.keyed is False and m.span is not None and not per_cpu and m.kind != "hash":
            st.warn(m.span, f"{m.name} has no keys: its kind {m.kind} does not matter")


def check_assigned(st: State) -> None:
    """In the end: a map that is read but that nothing is put into is most likely a slip of the pen."""
    for m in st.maps.values():
        if m.read_span is not None and not m.assigned:
            st.warn(
                m.read_span,
                f"Map {m.name} is read but never assigned to.",
                _near(st, m.name, "it never holds anything: reading it gives 0"),
            )


def default_values(st: State) -> bool:
    """Maps that come into being by `@x++` or by being read alone hold int64. Whether there were any."""
    from .types import INT8

    found = False
    for m in st.maps.values():
        if m.value is UNKNOWN and m.read:
            m.value = INT8
            found = True
    return found
