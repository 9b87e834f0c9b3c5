"""kstack and ustack: the frames go into a hash map, under a hash of themselves.

Not a stack trace map: there a stack has one bucket, and bpf_get_stackid refuses it when another stack came first
(kernel/bpf/stackmap.c), which is one in ten of 4,000 stacks in 16,384 buckets. It also allocates all its buckets when
it is created, some 70 MB of them. Here only two stacks of the same 63 bits would be taken for one.
"""

from __future__ import annotations

from .. import ast
from ..types import BPF
from ._context import pid_tgid
from ._layout import stack_map
from ._program import BUILTINS, CALLS, Program, Value

FRAME, BUILD_ID_FRAME = 8, 32  # bytes: an address, or struct bpf_stack_build_id
_USER_STACK, _USER_BUILD_ID = 256, 2048  # BPF_F_*
_NOEXIST = "1"
_EEXIST, _EFAULT = "-17", "-14"
_SEED = "-7046029254386353131"  # 2**64 divided by the golden ratio: odd, without a pattern
_FACTOR = "-4658895280553007687"  # from SplitMix64, whose steps these are


RECENT = 16  # stacks that a program knows to be in the map, on each CPU: a power of two


def frame_size(mode: str) -> int:
    """Bytes that a frame takes in the map."""
    return BUILD_ID_FRAME if mode == "build_id" else FRAME


def _stack(p: Program, e: ast.Name | ast.Call) -> Value:
    """The id of the current stack, for user stacks with the process; minus an errno where there is none."""
    f = p.f
    t = e.type
    p.script.need_stack_map(t)
    flags = (_USER_STACK if t.kind == "ustack" else 0) | (_USER_BUILD_ID if t.mode == "build_id" else 0)
    to = f.alloca(16 if t.kind == "ustack" else 8)
    if t.kind == "ustack":
        f.store(f.op("lshr", pid_tgid(p), "32"), f.gep(to, 8))
    recent = p.keep_size
    p.keep_size += 8 * RECENT
    mark = p.scratch_used
    limit = frame_size(t.mode) * t.count
    frames = p.scratch(limit)
    size = f.helper(67, f"ptr {p.context_pointer()}", f"ptr {frames}", str(limit), str(flags))
    taken, none, done = f.label("taken"), f.label("none"), f.label("stack")
    f.cond_br(f.icmp("sgt", size, "0"), taken, none)
    f.start(none)
    f.store(f.select(f.icmp("eq", size, "0"), _EFAULT, size), to)
    f.br(done)
    f.start(taken)
    f.store(_hash(p, frames, size, limit), to)
    _remember(p, stack_map(t), to, frames, recent)
    f.br(done)
    f.start(done)
    p.scratch_used = mark  # the id is all that is needed from here on
    return Value(t, to, BPF)


def _hash(p: Program, data: str, size: str, limit: int) -> str:
    """63 bits that stand for `size` bytes, a multiple of 8 and at most `limit`."""
    f = p.f
    at, mixed = f.alloca(8), f.alloca(8)
    f.store("0", at)
    f.store(f.op("xor", size, _SEED), mixed)
    head, more, body, hashed = f.label("head"), f.label("more"), f.label("mix"), f.label("hashed")
    f.start(head)
    # LLVM may not count the rounds in another way, and the verifier has to see where they end: that of 6.1 does not
    # see it when it is told that a number it knows is below one that it knows the limit of.
    index = f.opaque(f.load(at))
    f.cond_br(f.icmp("ult", index, str(limit)), more, hashed)
    f.start(more)
    f.cond_br(f.icmp("ult", index, size), body, hashed)
    f.start(body)
    f.store(_mix(p, f.op("xor", f.load(mixed), f.load(f.gep(data, index)))), mixed)
    f.store(f.op("add", index, str(FRAME)), at)
    f.br(head)
    f.start(hashed)
    return f.op("lshr", _mix(p, f.load(mixed)), "1")


def _mix(p: Program, value: str) -> str:
    f = p.f
    product = f.op("mul", value, _FACTOR)
    return f.op("xor", product, f.op("lshr", product, "29"))


def _remember(p: Program, name: str, key: str, frames: str, recent: int) -> None:
    """Put the frames into the map if they are new there; where it has no room, the id becomes minus an errno.

    `recent` is where ids lie that are known to be in the map, which nothing ever leaves: no look-up for those.
    """
    f = p.f
    symbol = p.module.map(name)
    ask, new, refused, lost, have, known = (f.label(n) for n in ("ask", "new", "refused", "lost", "have", "known"))
    found = f.load(key)
    place = f.gep(f.gep("%keep", recent), f.op("shl", f.op("and", found, str(RECENT - 1)), "3"))
    f.cond_br(f.icmp("eq", f.load(place), found), known, ask)
    f.start(ask)
    f.cond_br(f.is_null(f.helper(1, f"ptr {symbol}", f"ptr {key}", returns="ptr")), new, have)
    f.start(new)
    result = f.helper(2, f"ptr {symbol}", f"ptr {key}", f"ptr {frames}", _NOEXIST)
    f.cond_br(f.icmp("eq", result, "0"), have, refused)
    f.start(refused)
    f.cond_br(f.icmp("eq", result, _EEXIST), have, lost)  # another CPU was first
    f.start(lost)
    f.store(result, key)
    p.script.count_lost_stack(p)
    f.br(known)
    f.start(have)
    f.store(found, place)
    f.br(known)
    f.start(known)


BUILTINS.update({"kstack": _stack, "ustack": _stack})
CALLS.update({"kstack": _stack, "ustack": _stack})
