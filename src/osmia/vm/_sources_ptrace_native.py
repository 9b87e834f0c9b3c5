"""The part of the tracing loop that most stops see: native code, made by LLVM once and kept in the cache.

Where a process has no filter, each of its system calls stops twice. `next` waits, asks what the stop is, and lets the
thread go on by itself while nobody wants that call; what anybody wants, and every other kind of stop, it returns.

Which call a thread is in is not told at its end: a table of slots, by thread id, remembers it. Two threads that would
share a slot do not: the second one's stops are all returned. Where nobody wants the end of a call, the stop after its
start is passed on without asking what it is: it can only be that end.
"""

from __future__ import annotations

import mmap
import os

from ..errors import CacheError, CodegenError, NotSupported, VmError
from ..syscalls import ptrace as pt
from ..syscalls.native import buffer_address, native_function, symbol_address
from ._jit_driver import plan_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._native_image import Image, NativeCode

CALLS, SLOTS, WORDS = 1024, 4096, 4
ENTER, LEAVE = 1, 2
_PLAN = 128  # bytes
_PASSES = 256  # stops that are passed on before others get a chance: timers, other threads' wishes
# A thread that goes on by itself on another processor stops again soon: a few glances find that, while going to sleep
# and being woken costs more than all else here. After glances in vain, none for twice as many stops as before.
_GLANCES, _PAUSES = 40, 1024
_SYSCALL_STOP, _SECCOMP_STOP = 0x857F, 0x7057F

# slot, in words: 0 thread, 1 call, 2 whether its next call is to be returned, 3 whether its next stop is passed on
# plan, in words: 0 waitpid, 1 ptrace, 2 status, 3 info, 4 flags by call (bytes), 5 slots, 6 result of the last request,
# 7 glances, 8 stops until the next glance, 9 how many those were
_LOADS = plan_words("ptr wait", "ptr ptrace", "ptr status", "ptr info", "ptr flags", "ptr slots", "", "", "", "")
_IR = f"""
define i64 @next(i64 %address) nounwind {{
  %plan = inttoptr i64 %address to ptr
{_LOADS}
  %number = getelementptr i64, ptr %info, i64 3
  br label %loop
loop:
  %passed = phi i64 [ 0, %0 ], [ %more, %pass ]
  %pauses = load i64, ptr %p8
  %pausing = icmp ne i64 %pauses, 0
  br i1 %pausing, label %pause, label %try
pause:
  %fewer_pauses = sub i64 %pauses, 1
  store i64 %fewer_pauses, ptr %p8
  br label %rest
try:
  %spins = load i64, ptr %p7
  br label %spin
spin:
  %left = phi i64 [ %spins, %try ], [ %fewer, %glance ]
  %any = icmp ne i64 %left, 0
  br i1 %any, label %glance, label %vain
glance:
  %fewer = sub i64 %left, 1
  %seen = call i32 %wait(i32 -1, ptr %status, i32 {pt.WAIT_FLAGS | pt.WNOHANG})
  %none = icmp eq i32 %seen, 0
  br i1 %none, label %spin, label %hit
hit:
  store i64 1, ptr %p9
  br label %woken
vain:
  %last = load i64, ptr %p9
  %double = shl i64 %last, 1
  %large = icmp ugt i64 %double, {_PAUSES}
  %then = select i1 %large, i64 {_PAUSES}, i64 %double
  store i64 %then, ptr %p9
  store i64 %then, ptr %p8
  br label %rest
rest:
  %came = call i32 %wait(i32 -1, ptr %status, i32 {pt.WAIT_FLAGS})
  br label %woken
woken:
  %tid = phi i32 [ %seen, %hit ], [ %came, %rest ]
  %wide = sext i32 %tid to i64
  %some = icmp sgt i32 %tid, 0
  br i1 %some, label %check, label %out
check:
  %s = load i32, ptr %status
  %index = and i64 %wide, {SLOTS - 1}
  %offset = mul i64 %index, {8 * WORDS}
  %slot = getelementptr i8, ptr %slots, i64 %offset
  %owner = load i64, ptr %slot
  %mine = icmp eq i64 %owner, %wide
  %in = getelementptr i64, ptr %slot, i64 1
  %inside = getelementptr i64, ptr %slot, i64 3
  switch i32 %s, label %out [ i32 {_SYSCALL_STOP}, label %expected
                              i32 {_SECCOMP_STOP}, label %ask ]
expected:
  %ends = load i64, ptr %inside
  %ending = icmp ne i64 %ends, 0
  %sure = and i1 %mine, %ending
  br i1 %sure, label %end, label %ask
end:
  store i64 0, ptr %inside
  br label %pass
ask:
  %got = call i64 (i32, ...) %ptrace(i32 {pt.GET_SYSCALL_INFO}, i32 %tid, i64 {pt.INFO_SIZE}, ptr %info)
  store i64 %got, ptr %p6
  %known = icmp sgt i64 %got, 0
  %call = icmp eq i32 %s, {_SYSCALL_STOP}
  %both = and i1 %known, %call
  br i1 %both, label %kind, label %out
kind:
  %op = load i8, ptr %info
  switch i8 %op, label %out [ i8 {pt.ENTRY}, label %enter
                              i8 {pt.EXIT}, label %leave ]
enter:
  %free = icmp eq i64 %owner, 0
  %ours = or i1 %free, %mine
  br i1 %ours, label %note, label %out
note:
  %nr = load i64, ptr %number
  store i64 %wide, ptr %slot
  store i64 %nr, ptr %in
  %shown = getelementptr i64, ptr %slot, i64 2
  %show = load i64, ptr %shown
  %hidden = icmp eq i64 %show, 0
  br i1 %hidden, label %look, label %out
leave:
  %was = load i64, ptr %in
  br i1 %mine, label %look, label %out
look:
  %which = phi i64 [ %nr, %note ], [ %was, %leave ]
  %bit = phi i8 [ {ENTER}, %note ], [ {LEAVE}, %leave ]
  %valid = icmp ult i64 %which, {CALLS}
  br i1 %valid, label %test, label %out
test:
  %fp = getelementptr i8, ptr %flags, i64 %which
  %flag = load i8, ptr %fp
  %start = icmp eq i8 %bit, {ENTER}
  %after = and i8 %flag, {LEAVE}
  %boring = icmp eq i8 %after, 0
  %skip = and i1 %start, %boring
  %skips = zext i1 %skip to i64
  store i64 %skips, ptr %inside
  %masked = and i8 %flag, %bit
  %unwanted = icmp eq i8 %masked, 0
  br i1 %unwanted, label %pass, label %out
pass:
  %done = call i64 (i32, ...) %ptrace(i32 {pt.SYSCALL}, i32 %tid, i64 0, i64 0)
  %more = add i64 %passed, 1
  %enough = icmp ult i64 %more, {_PASSES}
  br i1 %enough, label %loop, label %tired
tired:
  ret i64 0
out:
  ret i64 %wide
}}
"""


class NativeLoop:
    """`next()` gives the next stop that somebody has to look at: a thread, 0 for none just now, negative as waitpid."""

    def __init__(self, waiter: pt.Waiter, info: pt.SyscallInfo, code: NativeCode) -> None:
        self._code = code
        table = CALLS + 8 * WORDS * SLOTS
        self._block = mmap.mmap(-1, _PLAN + table, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        view = memoryview(self._block)
        base = buffer_address(self._block)
        self._plan = view[:_PLAN].cast("Q")
        self._flags = view[_PLAN : _PLAN + CALLS]
        self._slots = view[_PLAN + CALLS : _PLAN + table].cast("Q")
        places = symbol_address("waitpid"), symbol_address("ptrace"), waiter.address, info.address
        for i, value in enumerate((*places, base + _PLAN, base + _PLAN + CALLS)):
            self._plan[i] = value
        self._plan[7] = 0 if (os.cpu_count() or 1) < 2 else _GLANCES
        self._address = base
        self._next: Callable[[int], int] = native_function(code.address("next"), 1)

    def parts(self) -> tuple[Callable[[int], int], int, memoryview[int]]:
        """(function, its argument, plan): `function(argument)` is what `next` does, as an unsigned number."""
        return self._next, self._address, self._plan

    def want(self, enter: Iterable[int] | None, leave: Iterable[int] | None) -> None:
        """Which calls are returned, by number; None: all."""
        self._flags[:] = bytes(CALLS)
        for at in range(3, WORDS * SLOTS, WORDS):
            if self._slots[at]:
                self._slots[at] = 0
        for bit, numbers in ((ENTER, enter), (LEAVE, leave)):
            for number in range(CALLS) if numbers is None else numbers:
                if number < CALLS:
                    self._flags[number] |= bit

    def call_of(self, tid: int) -> int:
        """The system call that a thread is in, -1 when the table does not say."""
        at = (tid & SLOTS - 1) * WORDS
        return self._slots[at + 1] if self._slots[at] == tid else -1

    def show(self, tid: int, on: bool) -> None:
        """Whether the thread's next call is returned in any case."""
        at = (tid & SLOTS - 1) * WORDS
        if on and self._slots[at] == 0:
            self._slots[at] = tid
            self._slots[at + 1] = CALLS
        if self._slots[at] == tid:
            self._slots[at + 2] = int(on)

    def move(self, former: int, tid: int, call: int) -> None:
        """A thread has another id: it executed a program."""
        known = self.call_of(former)
        self.forget(former)
        at = (tid & SLOTS - 1) * WORDS
        if self._slots[at] in (0, tid):
            self._slots[at] = tid
            self._slots[at + 1] = known if known >= 0 else call & (1 << 64) - 1
            self._slots[at + 3] = 0

    def forget(self, tid: int) -> None:
        """A thread is gone."""
        at = (tid & SLOTS - 1) * WORDS
        if self._slots[at] == tid:
            self._slots[at : at + WORDS] = memoryview(bytes(8 * WORDS)).cast("Q")

    def close(self) -> None:
        """Unmap the code."""
        self._code.close()


def native_loop(waiter: pt.Waiter, info: pt.SyscallInfo) -> NativeLoop | None:
    """The loop, or None where LLVM makes no code for this machine."""
    from ._native_image import NativeCode

    try:
        return NativeLoop(waiter, info, NativeCode(_image()))
    except (NotSupported, CodegenError, VmError, ImportError):
        return None


def _image() -> Image:
    from .._version import __version__
    from ..objects import Cache, cache_key
    from ._jit import _processor
    from ._native_image import Image, read_object

    key = cache_key("ptrace", __version__, _processor(), _IR)
    try:
        cache: Cache | None = Cache.open()
    except CacheError:
        cache = None
    try:
        found = cache.get_value(key) if cache is not None else None
        if found is not None:
            return Image(*found)
        from ..codegen import emit_native

        image = read_object(emit_native(_IR))
        if cache is not None:
            cache.put_value(key, image.parts())
        return image
    finally:
        if cache is not None:
            cache.close()
