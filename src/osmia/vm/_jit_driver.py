"""Loops in native code around a program: many runs for one call from Python. Compiled once per process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._native_image import NativeCode


def plan_words(*words: str) -> str:
    """IR that loads the words of `%plan`: "ptr name" or "i64 name" into %name, "" not at all. Word i lies at %p{i}."""
    lines = []
    for i, word in enumerate(words):
        lines.append(f"  %p{i} = getelementptr i64, ptr %plan, i64 {i}")
        type, _, name = word.partition(" ")
        if name:
            lines.append(f"  %{name} = load {type}, ptr %p{i}")
    return "\n".join(lines)


_PLAN = plan_words(
    "ptr fp", "ptr s", "i64 ctx", "i64 base", "ptr offsets", "ptr lengths", "i64 count", "ptr verdicts",
    "ptr histogram", "ptr template", "i64 size", "i64 o11", "i64 o12", "i64 o13", "i64 o14", "i64 fuel", "i64 limit",
)  # fmt: skip
# The program is called through a pointer: were it in this module, LLVM would move what does not change out of the loop.
_IR = """
define i64 @repeat(i64 %fn, i64 %r1, i64 %r2, i64 %state, i64 %times) nounwind {
  %f = inttoptr i64 %fn to ptr
  %s = inttoptr i64 %state to ptr
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %n, %loop ]
  %r = call i64 %f(i64 %r1, i64 %r2, i64 0, i64 0, i64 0, ptr %s)
  %n = add i64 %i, 1
  %go = icmp ult i64 %n, %times
  br i1 %go, label %loop, label %done
done:
  ret i64 %r
}

; plan: 0 entry, 1 state, 2 context, 3 packets, 4 offsets (u32), 5 lengths (u32), 6 count, 7 verdicts (u32 or null),
; 8 histogram (u64 x 16), 9 template of the context, 10 its size, 11 to 14 offsets in the context of data, data_end,
; data_meta and len (at least 4096 where there is none), 15 fuel a packet, 16 bytes of packets.
; Returns how many ran; with bit 63 set when the next packet lies outside of the memory.
define i64 @packets(i64 %address) nounwind {
  %plan = inttoptr i64 %address to ptr
{plan}
  %cp = inttoptr i64 %ctx to ptr
  %dp = getelementptr i8, ptr %cp, i64 %o11
  %ep = getelementptr i8, ptr %cp, i64 %o12
  %mp = getelementptr i8, ptr %cp, i64 %o13
  %lp = getelementptr i8, ptr %cp, i64 %o14
  %hasmeta = icmp ult i64 %o13, 4096
  %haslen = icmp ult i64 %o14, 4096
  %sf = getelementptr i64, ptr %s, i64 {fuel}
  %any = icmp ne i64 %count, 0
  %keep = icmp ne ptr %verdicts, null
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [ 0, %0 ], [ %n, %next ]
  %op = getelementptr i32, ptr %offsets, i64 %i
  %o = load i32, ptr %op
  %np = getelementptr i32, ptr %lengths, i64 %i
  %length = load i32, ptr %np
  %o64 = zext i32 %o to i64
  %l64 = zext i32 %length to i64
  %last = add i64 %o64, %l64
  %outside = icmp ugt i64 %last, %limit
  br i1 %outside, label %bad, label %inside
inside:
  %data = add i64 %base, %o64
  %data32 = trunc i64 %data to i32
  %end32 = add i32 %data32, %length
  call void @llvm.memcpy.p0.p0.i64(ptr %cp, ptr %template, i64 %size, i1 false)
  store i32 %data32, ptr %dp
  store i32 %end32, ptr %ep
  br i1 %hasmeta, label %meta, label %len
meta:
  store i32 %data32, ptr %mp
  br label %len
len:
  br i1 %haslen, label %setlen, label %call
setlen:
  store i32 %length, ptr %lp
  br label %call
call:
  store i64 %fuel, ptr %sf
  %r = call i64 %fp(i64 %ctx, i64 0, i64 0, i64 0, i64 0, ptr %s)
  %pending = load i64, ptr %s
  %raised = icmp ne i64 %pending, 0
  br i1 %raised, label %stop, label %note
note:
  %v = trunc i64 %r to i32
  br i1 %keep, label %verdict, label %bin
verdict:
  %vp = getelementptr i32, ptr %verdicts, i64 %i
  store i32 %v, ptr %vp
  br label %bin
bin:
  %small = icmp ult i32 %v, 15
  %b32 = select i1 %small, i32 %v, i32 15
  %b = zext i32 %b32 to i64
  %hp = getelementptr i64, ptr %histogram, i64 %b
  %h = load i64, ptr %hp
  %h1 = add i64 %h, 1
  store i64 %h1, ptr %hp
  br label %next
next:
  %n = add i64 %i, 1
  %go = icmp ult i64 %n, %count
  br i1 %go, label %loop, label %done
bad:
  %flagged = or i64 %i, -9223372036854775808
  ret i64 %flagged
stop:
  ret i64 %i
done:
  ret i64 %count
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


class Driver:
    """The loops, callable."""

    def __init__(self, native: NativeCode) -> None:
        from ..syscalls.native import native_function

        self.native = native
        self.repeat: Callable[[int, int, int, int, int], int] = native_function(native.address("repeat"), 5)
        self.packets: Callable[[int], int] = native_function(native.address("packets"), 1)


_driver: Driver | None = None


def driver() -> Driver:
    """The process's loops; their code comes from the cache of compiled code where there is one."""
    global _driver
    if _driver is None:
        from ..codegen import emit_native
        from ._jit_state import FUEL
        from ._native_image import NativeCode, read_object

        _driver = Driver(
            NativeCode(read_object(emit_native(_IR.replace("{fuel}", str(FUEL)).replace("{plan}", _PLAN))))
        )
    return _driver
