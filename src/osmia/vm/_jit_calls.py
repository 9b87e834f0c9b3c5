"""Calls that leave the program: helpers in Python, helpers that are cheaper written in place, LD_ABS and callx."""

from __future__ import annotations

from ..isa import op
from . import _jit_state as slot
from ._packet_load import DATA, DATA_END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..isa import Instruction
    from ._jit_function import FunctionWriter

LOOKUP, KTIME, CPU, TAIL_CALL, PID_TGID, UID_GID, LOOP = 1, 5, 8, 12, 14, 15, 181
_LOOP_LIMIT = 8 << 20  # BPF_MAX_LOOPS
# E2BIG as the kernel's inlined loop gives it: a 32-bit move (inline_bpf_loop in kernel/bpf/verifier.c, 5.19)
_E2BIG, _EINVAL = 0xFFFF_FFF9, -22


def helper_call(w: FunctionWriter, number: int, at: int) -> None:
    """Call a helper: in place when it is one of those below and nobody mocked it, else through its Python function."""
    inline = INLINE.get(number)
    if number == TAIL_CALL:
        _tail_call(w, at)
    elif inline is None or w.code.machine.is_mocked(number) or not inline(w, at):
        w.set(0, w.call_python("helper", number, [w.get(r) for r in range(1, 6)], at))
        w.check_pending()
    w.known.pop(0, None)


def _from_state(index: int) -> Callable[[FunctionWriter, int], bool]:
    def inline(w: FunctionWriter, at: int) -> bool:
        w.set(0, w.let(f"load i64, ptr {w.state(index)}"))
        return True

    return inline


def _ktime(w: FunctionWriter, at: int) -> bool:
    """clock_gettime(CLOCK_MONOTONIC), unless the clock was set: then the slot is 0 and Python is asked."""
    w.has_clock = True
    arguments = [w.get(r) for r in range(1, 6)]
    native, asked, done = w.label(), w.label(), w.label()
    function = w.let(f"load ptr, ptr {w.state(slot.CLOCK)}")
    there = w.let(f"icmp ne ptr {function}, null")
    w.line(f"br i1 {there}, label %{native}, label %{asked}")
    w.begin(native)
    w.let(f"call i64 {function}(i64 1, ptr %clock)")
    seconds = w.let("load i64, ptr %clock")
    second = w.let("getelementptr i64, ptr %clock, i64 1")
    nanoseconds = w.let(f"load i64, ptr {second}")
    whole = w.let(f"mul i64 {seconds}, 1000000000")
    first = w.let(f"add i64 {whole}, {nanoseconds}")
    w.line(f"br label %{done}")
    w.begin(asked)
    other = w.call_python("helper", KTIME, arguments, at)
    w.line(f"br label %{done}")
    w.begin(done)
    w.set(0, w.let(f"phi i64 [ {first}, %{native} ], [ {other}, %{asked} ]"))
    w.check_pending()
    return True


def _loop(w: FunctionWriter, at: int) -> bool:
    """bpf_loop with a function that is known here: a loop of direct calls, as the kernel's inline_bpf_loop."""
    known = w.known.get(2)
    if known is None or known[0] != "function":
        return False
    count, context, flags = w.let(f"and i64 {w.get(1)}, 4294967295"), w.get(3), w.get(4)
    head, body, more, bad, done = (w.label() for _ in range(5))
    odd = w.let(f"icmp ne i64 {flags}, 0")
    many = w.let(f"icmp ugt i64 {count}, {_LOOP_LIMIT}")
    either = w.let(f"or i1 {odd}, {many}")
    before = w.block
    w.line(f"br i1 {either}, label %{bad}, label %{head}")
    w.begin(head)
    index, following = f"%i{at}", f"%n{at}"
    w.line(f"{index} = phi i64 [ 0, %{before} ], [ {following}, %{more} ]")
    w.line(f"{following} = add i64 {index}, 1")
    again = w.let(f"icmp ult i64 {index}, {count}")
    w.line(f"br i1 {again}, label %{body}, label %{done}")
    w.begin(body)
    result = w.call_function(known[1], [index, context, "0", "0", "0"], at)
    stop = w.let(f"icmp ne i64 {result}, 0")
    last = w.block
    w.line(f"br i1 {stop}, label %{done}, label %{more}")
    w.begin(more)
    if w.checked:
        w.burn(1, at)
    w.line(f"br label %{head}")
    # A block that ends in a check has another name than it began with: the head's phi needs the last one.
    if w.block != more:
        w.rename_in_phi(f"%{more} ]", f"%{w.block} ]", index)
    w.begin(bad)
    error = w.let(f"select i1 {odd}, i64 {_EINVAL}, i64 {_E2BIG}")
    w.line(f"br label %{done}")
    w.begin(done)
    w.set(0, w.let(f"phi i64 [ {index}, %{head} ], [ {following}, %{last} ], [ {error}, %{bad} ]"))
    return True


def _lookup(w: FunctionWriter, at: int) -> bool:
    """bpf_map_lookup_elem of a map that is known here and whose layout is documented."""
    known = w.known.get(1)
    if known is None or known[0] != "map":
        return False
    from ._jit_maps import lookup

    return lookup(w, known[1], at)


INLINE: dict[int, Callable[[FunctionWriter, int], bool]] = {
    LOOKUP: _lookup,
    KTIME: _ktime,
    CPU: _from_state(slot.CPU),
    PID_TGID: _from_state(slot.PID_TGID),
    UID_GID: _from_state(slot.UID_GID),
    LOOP: _loop,
}


def _tail_call(w: FunctionWriter, at: int) -> None:
    """Ask Python for the program; run it in this frame and leave with its result, or go on when there is none."""
    context, made, index = w.get(1), w.get(2), w.get(3)
    if w.start in w.module.needs_stack:
        w.line("store i64 %fp, ptr %fps")
    found = w.call_python("tail", 0, [made, index], at)
    w.check_pending()
    there, go_on = w.label(), w.label()
    none = w.let(f"icmp eq i64 {found}, 0")
    w.line(f"br i1 {none}, label %{go_on}, label %{there}")
    w.begin(there)
    entry = w.let(f"inttoptr i64 {found} to ptr")
    number = w.let(f"load i64, ptr {w.state(slot.TAIL_STATE)}")
    state = w.let(f"inttoptr i64 {number} to ptr")
    result = w.let(f"call i64 {entry}(i64 {context}, i64 0, i64 0, i64 0, i64 0, ptr {state})")
    w.call_python("tail_done", 0, [number], at)
    w.line(f"ret i64 {result}")
    w.begin(go_on)


def indirect_call(w: FunctionWriter, register: int, at: int) -> None:
    """callx: one of this program's functions by its handle, or a helper by its number."""
    value = w.get(register)
    arguments = [w.get(r) for r in range(1, 6)]
    done = w.label()
    results: list[tuple[str, str]] = []
    for start in sorted(w.code.callbacks):
        handle = w.constant("function", start)
        hit, miss = w.label(), w.label()
        same = w.let(f"icmp eq i64 {value}, {handle}")
        w.line(f"br i1 {same}, label %{hit}, label %{miss}")
        w.begin(hit)
        result = w.call_function(start, arguments, at)
        results.append((result, w.block))
        w.line(f"br label %{done}")
        w.begin(miss)
    result = w.call_python("indirect", at, [value, *arguments], at)
    w.check_pending()
    results.append((result, w.block))
    w.line(f"br label %{done}")
    w.begin(done)
    w.set(0, w.let("phi i64 " + ", ".join(f"[ {value}, %{block} ]" for value, block in results)))
    w.known.pop(0, None)


def packet_load(w: FunctionWriter, i: Instruction, at: int) -> None:
    """LD_ABS, LD_IND: in place for offsets from the start of the packet, through Python for the special ones."""
    size, context = op.SIZE_BYTES[i.opcode & op.SIZE_MASK], w.get(6)
    offset = str(i.imm)
    if i.opcode & op.MODE_MASK == op.IND:
        low = w.let(f"trunc i64 {w.get(i.src)} to i32")
        short = w.let(f"add i32 {low}, {i.imm}")
        offset = w.let(f"sext i32 {short} to i64")
    special, plain, inside, out, done = (w.label() for _ in range(5))
    negative = w.let(f"icmp slt i64 {offset}, 0")
    w.line(f"br i1 {negative}, label %{special}, label %{plain}")
    w.begin(special)
    slow = w.call_python("packet", 0, [context, offset, str(size)], at)
    w.check_pending()
    missing = w.let(f"icmp slt i64 {slow}, 0")
    slow_block = w.block
    w.line(f"br i1 {missing}, label %{out}, label %{done}")
    w.begin(plain)
    value = _quick_load(w, context, offset, size, inside, out, at)
    quick_block = w.block
    w.line(f"br label %{done}")
    w.begin(out)
    w.line("ret i64 0")
    w.begin(done)
    w.set(0, w.let(f"phi i64 [ {slow}, %{slow_block} ], [ {value}, %{quick_block} ]"))
    w.known.pop(0, None)


def _quick_load(w: FunctionWriter, context: str, offset: str, size: int, inside: str, out: str, at: int) -> str:
    bounds = []
    for field in (DATA, DATA_END):
        w.check_access(w.let(f"add i64 {context}, {field}"), 4, 0, at)
        raw = w.let(f"load i32, ptr {w.pointer(context, field)}, align 1")
        bounds.append(w.let(f"zext i32 {raw} to i64"))
    start = w.let(f"add i64 {bounds[0]}, {offset}")
    end = w.let(f"add i64 {start}, {size}")
    fits = w.let(f"icmp ule i64 {end}, {bounds[1]}")
    w.line(f"br i1 {fits}, label %{inside}, label %{out}")
    w.begin(inside)
    w.check_access(start, size, 0, at)
    type = f"i{size * 8}"
    value = w.let(f"load {type}, ptr {w.pointer(start)}, align 1")
    if size > 1:
        value = w.let(f"call {type} @llvm.bswap.{type}({type} {value})")
    return w.let(f"zext {type} {value} to i64")
