"""count, sum, avg, min, max, stats, hist, lhist: one copy per CPU, written without atomics.

Programs of one CPU do not interrupt each other inside an update, with one exception: uprobes run preemptible
(bpf_prog_run_array_uprobe only keeps the task on its CPU), so there the additions are atomic.
"""

from __future__ import annotations

from .. import ast
from ..types import UINT64, Type
from ._layout import SERIES_BUCKET, hist_buckets, lhist_buckets, size_of
from ._maps import BPF_NOEXIST, key_of, lookup
from ._program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PREEMPTIBLE = ("uprobe", "uretprobe", "usdt")


def aggregate(p: Program, e: ast.MapRef, value: ast.Expr, t: Type) -> None:
    """`@m[k] = count()` and the like."""
    if isinstance(value, ast.Cast):
        value = value.operand
    if not isinstance(value, ast.Call):
        raise p.error(f"{e.name} is an aggregation ({t}); assign one of its functions to it", value)
    argument, signed = "0", False
    if value.args and isinstance(value.args[0], ast.Expr):
        argument, signed = p.integer(value.args[0]), value.args[0].type.signed
    key = key_of(p, e)
    where = _element(p, e.name, key, t)
    UPDATES[t.kind](p, where, argument, t, signed)
    p.f.br(p.pending_label)
    p.f.start(p.pending_label)


def _element(p: Program, name: str, key: str, t: Type) -> str:
    """This CPU's copy of the element, made when it is not there; jumps past the update when the map is full."""
    f = p.f
    done = f.label("agg")
    p.pending_label = done
    found = f.alloca(8)
    first = lookup(p, name, key)
    f.store_pointer(first, found)
    insert, have = f.label("new"), f.label("have")
    f.cond_br(f.is_null(first), insert, have)
    f.start(insert)
    if p.script.is_array(name):
        f.br(done)
    else:
        size = size_of(t)
        zeros = p.zero_constant(size)
        f.helper(2, f"ptr {p.script.map_symbol(name)}", f"ptr {key}", f"ptr {zeros}", BPF_NOEXIST)
        second = lookup(p, name, key)
        f.store_pointer(second, found)
        missing = f.label("missing")
        f.cond_br(f.is_null(second), missing, have)
        f.start(missing)
        p.script.count_map_loss(p, name)  # the map is full (-E2BIG) or the kernel has no memory at hand (-ENOMEM)
        f.br(done)
    f.start(have)
    return f.load_pointer(found)


def _add(p: Program, where: str, offset: int, value: str) -> None:
    f = p.f
    slot = f.gep(where, offset)
    if p.probe.provider in _PREEMPTIBLE:
        f.atomic_add(slot, value)
    else:
        f.store(f.op("add", f.load(slot), value), slot)


def _count(p: Program, where: str, _value: str, _t: Type, _signed: bool) -> None:
    _add(p, where, 0, "1")


def _sum(p: Program, where: str, value: str, _t: Type, _signed: bool) -> None:
    _add(p, where, 0, value)


def _average(p: Program, where: str, value: str, _t: Type, _signed: bool) -> None:
    _add(p, where, 0, value)
    _add(p, where, 8, "1")


def _extreme(p: Program, where: str, value: str, t: Type, _signed: bool) -> None:
    """{value, is_set}: the first value always counts."""
    f = p.f
    less = t.kind == "min"
    current, is_set = f.load(where), f.load(f.gep(where, 8))
    condition = f"{'s' if t.signed else 'u'}{'lt' if less else 'gt'}"
    better = f.icmp(condition, value, current)
    write, done = f.label("write"), f.label("kept")
    unset = f.icmp("eq", is_set, "0")
    f.cond_br(f.value(f"or i1 {better}, {unset}"), write, done)
    f.start(write)
    f.store(value, where)
    f.store("1", f.gep(where, 8))
    f.br(done)
    f.start(done)


def _hist(p: Program, where: str, value: str, t: Type, signed: bool) -> None:
    _bump(p, where, hist_index(p, value, t, signed), hist_buckets(t.bits))


def _lhist(p: Program, where: str, value: str, t: Type, signed: bool) -> None:
    f = p.f
    sign = "s" if signed else "u"  # bounds are not negative, so they are the same number either way
    low, high, step = t.bounds
    buckets = lhist_buckets(t.bounds)
    inner = f.op("add", f.op("udiv", f.op("sub", value, str(low)), str(step)), "1")
    index = f.select(f.icmp(sign + "ge", value, str(high)), str(buckets - 1), inner)
    index = f.select(f.icmp(sign + "lt", value, str(low)), "0", index)
    _bump(p, where, index, buckets)


def _bump(p: Program, where: str, index: str, buckets: int) -> None:
    """Add one to bucket `index`; the comparison is for the verifier, which must see the bound."""
    f = p.f
    guarded = f.opaque(index)
    add, done = f.label("bump"), f.label("bumped")
    f.cond_br(f.icmp("ult", guarded, str(buckets)), add, done)
    f.start(add)
    slot = f.gep(where, f.op("shl", guarded, "3"))
    if p.probe.provider in _PREEMPTIBLE:
        f.atomic_add(slot, "1")
    else:
        f.store(f.op("add", f.load(slot), "1"), slot)
    f.br(done)
    f.start(done)


def hist_index(p: Program, value: str, t: Type, signed: bool) -> str:
    """Bucket of a value: 0 below zero, then 2**bits single values, then 2**bits for each power of two.

    With k = bits and 2**n <= value < 2**(n+1), n >= k: 1 + 2**k * (n - k) + (value >> (n - k)).
    """
    f = p.f
    bits = t.bits
    power, rest = "0", value
    for shift in (32, 16, 8, 4, 2, 1):
        high = f.bool_to_int(f.icmp("ugt", rest, str((1 << shift) - 1)))
        step = f.op("shl", high, str(shift.bit_length() - 1))
        rest = f.op("lshr", rest, step)
        power = f.op("or", power, step)
    small = f.icmp("ult", value, str(1 << bits))
    above = f.op("and", f.op("sub", power, str(bits)), "63")
    index = f.op("add", f.op("shl", above, str(bits)), f.op("lshr", value, above))
    index = f.op("add", f.select(small, value, index), "1")
    return f.select(f.icmp("slt", value, "0"), "0", index) if signed else index


def _tseries(p: Program, where: str, value: str, t: Type, signed: bool) -> None:
    """The bucket of this moment's interval, started anew when it still holds an older one."""
    f = p.f
    now = series_clock(p)
    number = f.op("udiv", now, str(t.bounds[0]))
    place = f.opaque(f.op("urem", number, str(t.count)))
    inside, done = f.label("bucket"), f.label("noted")
    f.cond_br(f.icmp("ult", place, str(t.count)), inside, done)
    f.start(inside)
    bucket = f.gep(where, f.op("mul", place, str(SERIES_BUCKET)))
    held, meta, is_set = f.gep(bucket, 8), f.gep(bucket, 16), f.gep(bucket, 24)
    stale, fresh = f.label("stale"), f.label("fresh")
    f.cond_br(f.icmp("eq", f.load(bucket), number), fresh, stale)
    f.start(stale)
    f.store(number, bucket)
    f.store("0", held)
    f.store("0", meta)
    f.store("0", is_set)
    f.start(fresh)
    old = f.load(held)
    if t.mode in ("avg", "sum"):
        f.store(f.op("add", old, value), held)
        f.store(f.op("add", f.load(meta), "1"), meta)
    else:
        if t.mode:
            better = f.icmp(("s" if signed else "u") + ("lt" if t.mode == "min" else "gt"), value, old)
            better = f.value(f"or i1 {better}, {f.icmp('eq', f.load(is_set), '0')}")
        else:
            better = f.icmp("ugt", now, f.load(meta))
        f.store(f.select(better, value, old), held)
        f.store(now, meta)
    f.store("1", is_set)
    f.br(done)
    f.start(done)


def series_clock(p: Program) -> str:
    """Wall-clock nanoseconds. BPFTRACE_DUMMY_TS_MAP=@x takes them from a map instead, for tests."""
    import os

    name = os.environ.get("BPFTRACE_DUMMY_TS_MAP", "")
    if name in p.script.checked.maps:
        ref = ast.MapRef(ast.Span(0, 0), name)
        ref.type = p.script.map(name).value or UINT64
        from ._maps import read_map

        return read_map(p, ref).reg
    if p.features.has("ktime_get_tai_ns"):
        return p.f.helper(p.features.number("ktime_get_tai_ns"))
    return p.f.op("add", p.f.helper(p.features.boot_clock), p.f.load(p.script.start_value(p, 8)))


UPDATES: dict[str, Callable[[Program, str, str, Type, bool], None]] = {
    "count": _count,
    "sum": _sum,
    "avg": _average,
    "stats": _average,
    "min": _extreme,
    "max": _extreme,
    "hist": _hist,
    "lhist": _lhist,
    "tseries": _tseries,
}


# ---------------------------------------------------------------- reading, all CPUs together


def for_each_cpu(p: Program, name: str, key: str, body: Callable[[str], None]) -> None:
    """Run `body(pointer)` for every CPU's copy of an element."""
    f = p.f
    if not p.features.has("map_lookup_percpu_elem"):
        raise f.fail(
            "reading an aggregation inside a program needs Linux 5.19 or later (bpf_map_lookup_percpu_elem)",
            "print the map instead, or use a plain map with ++",
        )
    at = f.alloca(8)
    f.store("0", at)
    head, look, use, onward, done = (f.label(n) for n in ("cpus", "look", "use", "onward", "done"))
    f.start(head)
    cpu = f.load(at)
    f.cond_br(f.icmp("ult", cpu, str(p.features.cpus)), look, done)
    f.start(look)
    found = f.helper(195, f"ptr {p.script.map_symbol(name)}", f"ptr {key}", cpu, returns="ptr")
    f.cond_br(f.is_null(found), done, use)  # so it is for numbers that no CPU has
    f.start(use)
    body(found)
    f.br(onward)
    f.start(onward)
    f.store(f.op("add", f.load(at), "1"), at)
    f.br(head)
    f.start(done)


def read_aggregation(p: Program, e: ast.MapRef) -> str:
    """The number that an aggregation stands for in an expression."""
    info = p.script.map(e.name)
    if info.value is None:
        return "0"
    return read_element(p, e.name, key_of(p, e), info.value)


def read_element(p: Program, name: str, key: str, t: Type) -> str:
    f = p.f
    if t.kind in ("min", "max"):
        return _read_extreme(p, name, key, t)
    total, count = f.alloca(8), f.alloca(8)
    f.store("0", total)
    f.store("0", count)

    def add(where: str) -> None:
        f.store(f.op("add", f.load(total), f.load(where)), total)
        if t.kind in ("avg", "stats"):
            f.store(f.op("add", f.load(count), f.load(f.gep(where, 8))), count)

    for_each_cpu(p, name, key, add)
    if t.kind not in ("avg", "stats"):
        return f.load(total)
    n = f.load(count)
    return f.sdiv(f.load(total), n) if t.signed else f.op("udiv", f.load(total), n)  # BPF: x / 0 is 0


def _read_extreme(p: Program, name: str, key: str, t: Type) -> str:
    f = p.f
    best, any_set = f.alloca(8), f.alloca(8)
    f.store("0", best)
    f.store("0", any_set)
    condition = f"{'s' if t.signed else 'u'}{'lt' if t.kind == 'min' else 'gt'}"

    def merge(where: str) -> None:
        value, is_set = f.load(where), f.load(f.gep(where, 8))
        better = f.icmp(condition, value, f.load(best))
        first = f.icmp("eq", f.load(any_set), "0")
        valid = f.icmp("ne", is_set, "0")
        use = f.value(f"and i1 {valid}, {f.value(f'or i1 {better}, {first}')}")
        f.store(f.select(use, value, f.load(best)), best)
        f.store(f.op("or", f.load(any_set), is_set), any_set)

    for_each_cpu(p, name, key, merge)
    return f.load(best)


__all__ = ["aggregate", "for_each_cpu", "hist_index", "read_aggregation", "read_element"]
