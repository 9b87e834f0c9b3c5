"""Script maps: keys, look-ups, updates, deletion.

A scalar map is a hash of one element (an array's element always exists, a script map's does not until it is set),
or, for the aggregations that show by themselves whether they were used, a per-CPU array of one.
Updates that fail because the map is full are counted, by map: nothing is lost silently.
"""

from __future__ import annotations

from .. import ast
from ..types import BPF, INT64, Type
from ._layout import align_of, has_padding, size_of
from ._memory import build, copy, copy_align, in_memory, zero
from ._program import CALLS, Program, Value

BPF_NOEXIST = "1"


def key_of(p: Program, e: ast.MapRef) -> str:
    """A pointer to the key of `e`, laid out as the map's key type."""
    info = p.script.map(e.name)
    if info.key is None or e.key is None:
        return _scalar_key(p)
    return key_in_memory(p, e.key, info.key)


def _scalar_key(p: Program) -> str:
    slot = p.f.alloca(8, 8)
    p.f.store("0", slot)
    return slot


def key_in_memory(p: Program, key: ast.Expr, t: Type) -> str:
    if isinstance(key, ast.Name) and key.name == "comm" and t.kind == "string" and t.size == 16:
        return in_memory(p, p.expr(key), t, pad=True)
    if isinstance(key, ast.Variable) and not key.slot.type.in_register and key.slot.type == t:
        return in_memory(p, p.expr(key), t, pad=True)
    slot = p.stack_or_scratch(max(8, size_of(t)))
    if t.in_register:
        p.f.store(p.integer(key), slot, size_of(t))
    else:
        build(p, key, slot, t, pad=True)
    return slot


def lookup(p: Program, name: str, key: str) -> str:
    return p.f.helper(1, f"ptr {p.script.map_symbol(name)}", f"ptr {key}", returns="ptr")


def update(p: Program, name: str, key: str, value: str, flags: str = "0") -> None:
    """bpf_map_update_elem; a refusal (the map is full) is counted as a loss of that map."""
    f = p.f
    result = f.helper(2, f"ptr {p.script.map_symbol(name)}", f"ptr {key}", f"ptr {value}", flags)
    full, done = f.label("full"), f.label("done")
    f.cond_br(f.icmp("ne", result, "0"), full, done)
    f.start(full)
    p.script.count_map_loss(p, name)
    f.br(done)
    f.start(done)


def read_map(p: Program, e: ast.MapRef) -> Value:
    """The value of `@m[k]`: zero (or empty) when there is none."""
    info = p.script.map(e.name)
    t = e.type
    if info.value is not None and info.value.is_aggregation:
        from ._aggregate import read_aggregation

        # A number from here on: what converts it may stand around a block, not around the map itself.
        return Value(Type("int", 8, info.value.signed), read_aggregation(p, e))
    f = p.f
    found = lookup(p, e.name, key_of(p, e))
    hit, done = f.label("hit"), f.label("done")
    stored = info.value or t
    size = size_of(stored)
    if stored.in_register:
        where = f.alloca(8)
        f.store("0", where)
    else:
        where = p.stack_or_scratch(size)
        zero(p, where, size, align_of(stored))
    missing = f.label("missing")
    f.cond_br(f.is_null(found), missing, hit)
    f.start(missing)
    _report_missing(p, e)
    f.br(done)
    f.start(hit)
    if stored.in_register:
        f.store(f.load(found, size, stored.signed), where)
    else:
        copy(p, where, found, size, copy_align(stored))
    f.br(done)
    f.start(done)
    if stored.in_register:
        return Value(t, f.load(where))
    return Value(stored, where, BPF, padded=True)


def _report_missing(p: Program, e: ast.MapRef) -> None:
    """With -k: a look-up that found nothing."""
    if p.script.options.helper_errors:
        from ._events import send

        text = "Can't lookup map element because it does not exist."
        send(p, "helper_error", e, [("code", INT64, lambda to: p.f.store("0", to))], text=text,
             args=(("helper", "map_lookup_elem"),))  # fmt: skip


def assign_map(p: Program, e: ast.MapRef, value: ast.Expr) -> None:
    """`@m[k] = value`."""
    info = p.script.map(e.name)
    t = info.value
    if t is None:
        raise p.error(f"{e.name} has no type", e)
    if t.is_aggregation:
        from ._aggregate import aggregate

        aggregate(p, e, value, t)
        return
    slot = value_in_memory(p, value, t)
    update(p, e.name, key_of(p, e), slot)


def value_in_memory(p: Program, value: ast.Expr, t: Type) -> str:
    size = size_of(t)
    if t.in_register:
        slot = p.f.alloca(8)
        p.f.store(p.integer(value), slot, size)
        return slot
    slot = p.stack_or_scratch(max(8, size))
    if has_padding(t):
        zero(p, slot, size)
    build(p, value, slot, t, pad=t.kind in ("tuple", "record", "string", "buffer"))
    return slot


def add_to_map(p: Program, e: ast.MapRef, step: str, t: Type, *, old: bool) -> Value:
    """`@m[k]++` and friends; 64-bit values are added to atomically, so no update of another CPU is lost."""
    f = p.f
    info = p.script.map(e.name)
    stored = info.value or t
    if stored.is_aggregation:
        raise p.error(f"{e.name} is an aggregation ({stored}); ++ and -- need a plain number", e)
    size = size_of(stored)
    key = key_of(p, e)
    before = f.alloca(8)
    f.store("0", before)
    insert, hit, done = f.label("insert"), f.label("hit"), f.label("done")
    found = lookup(p, e.name, key)
    f.cond_br(f.is_null(found), insert, hit)
    f.start(insert)
    fresh = f.alloca(8)
    f.store(step, fresh, size)
    result = f.helper(2, f"ptr {p.script.map_symbol(e.name)}", f"ptr {key}", f"ptr {fresh}", BPF_NOEXIST)
    again, full, check = f.label("again"), f.label("full"), f.label("check")
    f.cond_br(f.icmp("eq", result, "-17"), again, check)  # -EEXIST: another CPU was first
    f.start(check)
    f.cond_br(f.icmp("ne", result, "0"), full, done)
    f.start(full)
    p.script.count_map_loss(p, e.name)
    f.br(done)
    f.start(again)
    second = lookup(p, e.name, key)
    retry = f.label("retry")
    f.cond_br(f.is_null(second), done, retry)
    f.start(retry)
    _add(p, second, step, stored, before)
    f.br(done)
    f.start(hit)
    _add(p, found, step, stored, before)
    f.br(done)
    f.start(done)
    was = f.load(before)
    return Value(t, was if old else f.truncate(f.op("add", was, step), size, stored.signed))


def _add(p: Program, where: str, step: str, t: Type, before: str) -> None:
    f = p.f
    size = size_of(t)
    f.store(f.load(where, size, t.signed), before)
    if size == 8:
        f.atomic_add(where, step)
    else:
        f.store(f.op("add", f.load(where, size, t.signed), step), where, size)


def compound_assign(p: Program, e: ast.MapRef, op: str, value: ast.Expr, node: ast.Node) -> None:
    """`@m[k] op= value`."""
    from ._expr import arithmetic

    info = p.script.map(e.name)
    t = info.value
    if t is None or not t.in_register:
        raise p.error(f"{op}= needs a number on the left", node)
    if op in ("+", "-") and t.is_int:
        step = p.integer(value)
        add_to_map(p, e, step if op == "+" else p.f.op("sub", "0", step), t, old=False)
        return
    right = p.integer(value)
    old = read_map(p, e)
    new = arithmetic(p, op, old.reg, right, t, value.type, t, node)
    slot = p.f.alloca(8)
    p.f.store(new, slot, size_of(t))
    update(p, e.name, key_of(p, e), slot)


def address_of_element(p: Program, e: ast.MapRef) -> str:
    """`&@m[k]`: address of the value, 0 when there is none."""
    return p.f.to_int(lookup(p, e.name, key_of(p, e)))


# ---------------------------------------------------------------- functions on maps


def _map_argument(p: Program, e: ast.Call) -> ast.MapRef:
    first = e.args[0] if e.args else None
    if not isinstance(first, ast.MapRef):
        raise p.error(f"{e.name}() takes a map", e)
    return first


def _key_argument(p: Program, e: ast.Call) -> str:
    """The key of delete(@m, k), has_key(@m, k), or of the old spelling delete(@m[k])."""
    target = _map_argument(p, e)
    info = p.script.map(target.name)
    if len(e.args) > 1 and isinstance(e.args[1], ast.Expr) and info.key is not None:
        return key_in_memory(p, e.args[1], info.key)
    return key_of(p, target)


def _delete(p: Program, e: ast.Call) -> Value:
    target = _map_argument(p, e)
    key = _key_argument(p, e)
    if p.script.is_array(target.name):
        return _delete_array(p, e, target, key)
    result = p.f.helper(3, f"ptr {p.script.map_symbol(target.name)}", f"ptr {key}")
    if e.type is None or e.type.kind == "none":
        return Value(Type("none"), "")
    return Value(e.type, p.f.bool_to_int(p.f.icmp("eq", result, "0")))


def _delete_array(p: Program, e: ast.Call, target: ast.MapRef, key: str) -> Value:
    """A scalar aggregation in a per-CPU array: zero it on every CPU."""
    t = p.script.map(target.name).value
    size = size_of(t) if t else 8
    from ._aggregate import for_each_cpu

    def clear(where: str) -> None:
        zero(p, where, size)

    for_each_cpu(p, target.name, key, clear)
    return Value(e.type or Type("none"), "1" if e.type and e.type.in_register else "")


def _has_key(p: Program, e: ast.Call) -> Value:
    target = _map_argument(p, e)
    found = lookup(p, target.name, _key_argument(p, e))
    return Value(e.type, p.f.bool_to_int(p.f.icmp("ne", found, "null", "ptr")))


def _len(p: Program, e: ast.Call) -> Value:
    first = e.args[0]
    if isinstance(first, ast.MapRef):
        if p.features.version >= (6, 6):
            p.module.kfunc("bpf_map_sum_elem_count", "i64 (ptr)")
            count = p.f.call("bpf_map_sum_elem_count", f"ptr {p.script.map_symbol(first.name)}")
            return Value(e.type, count)
        from ._loops import count_elements

        return Value(e.type, count_elements(p, first.name))
    if isinstance(first, ast.TypeName):
        raise p.error("len() takes a map, a stack or a string", e)
    t = first.type
    if t.kind == "string":
        from ._strings import length_of

        return Value(e.type, length_of(p, p.expr(first)))
    if t.kind in ("kstack", "ustack"):
        return Value(e.type, stack_depth(p, first))
    if t.kind == "buffer":
        return Value(e.type, p.f.load(in_memory(p, p.expr(first)), 4))
    raise p.error("len() takes a map, a stack or a string", e)


def stack_depth(p: Program, e: ast.Expr) -> str:
    """How many frames the current stack has, up to the type's limit."""
    f = p.f
    # A program may not read a stack trace map; bpf_get_stack walks again and says how many bytes it found.
    frames = p.scratch(8 * e.type.count)
    flags = "256" if e.type.kind == "ustack" else "0"
    size = f.helper(67, f"ptr {p.context_pointer()}", f"ptr {frames}", str(8 * e.type.count), flags)
    return f.select(f.icmp("sgt", size, "0"), f.op("lshr", size, "3"), "0")


def _find(p: Program, e: ast.Call) -> Value:
    """find(@m, k, $v): whether the key exists; if so its value is in $v."""
    target, variable = _map_argument(p, e), e.args[2]
    if not isinstance(variable, ast.Variable):
        raise p.error("find() takes a map, a key and a variable", e)
    f = p.f
    found = lookup(p, target.name, _key_argument(p, e))
    hit, done = f.label("hit"), f.label("done")
    missing = f.is_null(found)
    f.cond_br(missing, done, hit)
    f.start(hit)
    t = variable.slot.type
    if t.in_register:
        f.store(f.load(found, size_of(t), t.signed), p.variable(variable.slot))
    else:
        copy(p, p.variable(variable.slot), found, size_of(t), copy_align(t))
    f.br(done)
    f.start(done)
    return Value(e.type, f.bool_to_int(f.value(f"xor i1 {missing}, true")))


CALLS.update({"delete": _delete, "has_key": _has_key, "len": _len, "find": _find})

__all__ = ["add_to_map", "assign_map", "compound_assign", "key_of", "lookup", "read_map", "update"]
