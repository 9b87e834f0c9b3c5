"""Probes on user functions by breakpoints in the memory of traced processes.

A breakpoint instruction takes the place of the original one. The thread that hits it stops with SIGTRAP; programs run;
then the original instruction is carried out here (`_breakpoints_x86.py`) or, for those not known there, by a single
step of a copy elsewhere, in a page that the process is made to map near its code: other threads run on all the while.
What can run nowhere else is put back for the step; a thread that comes by just then is missed.

A function's return is seen by a breakpoint at its return address, read from the stack (or the link register) at entry;
it counts only in the thread and at the stack depth that are expected. Backtraces stay as they are.

Files are found in a process' memory by its maps: when it is first seen, after exec, and whenever it maps something
executable.
"""

from __future__ import annotations

import os

from ..syscalls import MACHINE
from ..syscalls import ptrace as pt
from ._sources_ptrace_task import PC, SP, Process, Tracee, read_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._sources_ptrace_loop import Loop
    from ._sources_ptrace_wanted import Fires, Site

_ARM = MACHINE == "aarch64"
TRAP = b"\x00\x00\x20\xd4" if _ARM else b"\xcc"  # brk #0, int3
_AFTER = 0 if _ARM else 1  # how far behind the instruction the thread stops
# Kernels since 6.11 take these for the start of a function, whose caller is on the stack but not in a frame yet.
_ENTRIES = () if _ARM else (b"\x55", b"\xf3\x0f\x1e\xfa")
_LONGEST = 4 if _ARM else 15
_MMAP = 222 if _ARM else 9
SIGTRAP = 5
_PAGE, _SLOT = 4096, 16
_NEAR = 0x7000_0000  # reach of an address relative to the instruction, with room to spare


class Place:
    """An address with a breakpoint: the site that it is for, if any, and how many returns wait for it."""

    __slots__ = ("code", "copy", "site", "waiting")

    def __init__(self, code: bytes) -> None:
        self.code = code  # the original bytes
        self.copy = 0  # address of a copy that can be stepped, -1: it cannot be moved
        self.site: Site | None = None
        self.waiting = 0


class Space:
    """Breakpoints in one memory, which processes may share (vfork). `pages` are for copies: [address, used]."""

    __slots__ = ("pages", "places")

    def __init__(self) -> None:
        self.places: dict[int, Place] = {}
        self.pages: list[list[int]] = []


class Return:
    """A call that a thread is in: where it returns to, the stack pointer then, what runs, the function's address."""

    __slots__ = ("address", "fires", "function", "sp")

    def __init__(self, address: int, sp: int, fires: Fires, function: int) -> None:
        self.address = address
        self.sp = sp
        self.fires = fires
        self.function = function


class Step:
    """A single step that a thread is in: the instruction at `address`, or its copy at `copy`."""

    __slots__ = ("address", "code", "copy")

    def __init__(self, address: int, copy: int, code: bytes) -> None:
        self.address = address
        self.copy = copy
        self.code = code


class Breakpoints:
    """All breakpoints of one loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.files: dict[str, tuple[int, int]] = {}  # path -> inode, device
        self._by_path: dict[str, list[Site]] = {}
        self._removed: dict[int, bytes] = {}  # what was there in place of breakpoints that are no more

    # Places

    def load(self) -> None:
        """Follow what is wanted now, in every process."""
        self._by_path = {}
        for site in self.loop.wanted.sites.values():
            self._by_path.setdefault(os.path.realpath(site.path), []).append(site)
        self.files = {}
        for path in self._by_path:
            try:
                found = os.stat(path)
                self.files[path] = found.st_ino, found.st_dev
            except OSError:
                self.files[path] = 0, 0
        if self.files:
            self.loop.internal[_MMAP] = self._mapped
            self.loop.wanted.leave.setdefault(_MMAP, ())
        else:
            self.loop.internal.pop(_MMAP, None)
        for owner in {id(t.owner): t.owner for t in self.loop.threads.values()}.values():
            self.plant(owner)

    def plant(self, owner: Process) -> None:
        """Put breakpoints where the process has the files mapped; take away those not wanted any more."""
        if not self.files and owner.space is None:
            return
        space = owner.space = owner.space or Space()
        wanted = self._addresses(owner) if self.files else {}
        for address, place in list(space.places.items()):
            place.site = wanted.pop(address, None)
            if place.site is None and not place.waiting:
                self._remove(owner, space, address)
        for address, site in wanted.items():
            made = self._insert(owner, space, address)
            if made is not None:
                made.site = site

    def _addresses(self, owner: Process) -> dict[int, Site]:
        found: dict[int, Site] = {}
        seen = set()
        inodes = {which: path for path, which in self.files.items()}
        try:
            with open(f"/proc/{owner.pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
                lines = file.readlines()
        except OSError:
            return found
        for line in lines:
            words = line.split(None, 5)
            if len(words) < 6 or words[5][0] != "/":
                continue
            name = words[5].rstrip("\n")
            major, minor = words[3].split(":")
            which = int(words[4]), os.makedev(int(major, 16), int(minor, 16))
            path = name if name in self._by_path else inodes.get(which, "")
            if not path:
                continue
            if "x" in words[1]:
                seen.add(path)
                start, end = (int(word, 16) for word in words[0].split("-"))
                base = int(words[2], 16)
                for site in self._by_path[path]:
                    if base <= site.offset < base + end - start:
                        found[start + site.offset - base] = site
        owner.unmapped = len(seen) < len(self.files)
        return found

    def _insert(self, owner: Process, space: Space, address: int) -> Place | None:
        memory = owner.open()
        try:
            code = _clean(os.pread(memory, _LONGEST, address), space, address)
            os.pwrite(memory, TRAP, address)
        except OSError:
            return None
        place = space.places[address] = Place(code)
        return place

    def _remove(self, owner: Process, space: Space, address: int) -> None:
        place = space.places.pop(address, None)
        if place is not None:
            self._removed[address] = place.code[: len(TRAP)]
            self._write(owner, address, place.code[: len(TRAP)])

    def _write(self, owner: Process, address: int, data: bytes) -> None:
        try:
            os.pwrite(owner.open(), data, address)
        except OSError:
            return  # it was unmapped, or the process is gone

    # Processes

    def _mapped(self, thread: Tracee) -> None:
        """A thread has mapped something."""
        if thread.owner.unmapped:
            self.plant(thread.owner)
            if not thread.owner.unmapped:
                resume = self.loop.resume_request(thread.owner)
                for other in self.loop.threads.values():
                    if other.owner is thread.owner:
                        other.resume = resume

    def executed(self, thread: Tracee) -> None:
        """The process has a new memory."""
        owner, space = thread.owner, thread.owner.space
        if space is not None:
            owner.space = None
            sharing = next((t.owner for t in self.loop.threads.values() if t.owner.space is space), None)
            for gone in thread.returns:
                place = space.places.get(gone.address)
                if place is not None and sharing is not None:
                    place.waiting -= 1
                    if not place.waiting and place.site is None:
                        self._remove(sharing, space, gone.address)
        thread.returns = []
        if self.files:
            owner.unmapped = True
            self.plant(owner)
        thread.resume = self.loop.resume_request(owner)

    def forked(self, parent: Tracee, child: Tracee, event: int) -> None:
        """A child has a copy of its parent's memory, breakpoints and all, or the memory itself."""
        space = parent.owner.space
        if child.owner is parent.owner:
            return
        child.owner.unmapped = parent.owner.unmapped
        if space is None:
            return
        if event != pt.EVENT_FORK and pt.same_memory(parent.pid, child.pid):
            child.owner.space = space
            return
        child.returns = list(parent.returns)
        mine = child.owner.space = Space()
        mine.pages = [list(page) for page in space.pages]
        for address, place in space.places.items():
            copy = mine.places[address] = Place(place.code)
            copy.site, copy.copy = place.site, place.copy
            copy.waiting = sum(1 for r in child.returns if r.address == address)

    def forget(self, thread: Tracee) -> None:
        """A thread is gone: nobody returns there any more."""
        space = thread.owner.space
        step, thread.stepping = thread.stepping, None
        if step is not None and not step.copy and space is not None and step.address in space.places:
            self._write(thread.owner, step.address, TRAP)
        if space is not None:
            self._drop_returns(thread, space, 0)

    def remove_all(self) -> None:
        """Restore every instruction. Threads that have hit a breakpoint meanwhile go through `repair`."""
        for thread in self.loop.threads.values():
            space = thread.owner.space
            if space is not None:
                for address in list(space.places):
                    self._remove(thread.owner, space, address)

    def restore_copy(self, pid: int) -> None:
        """Restore the memory of a process that was forked before its parent's memory was restored."""
        if not self._removed:
            return
        stranger = Process(pid)
        try:
            for address, code in self._removed.items():
                if os.pread(stranger.open(), len(TRAP), address) == TRAP != code:
                    self._write(stranger, address, code)
        except OSError:
            return  # it has other memory, or is gone
        finally:
            stranger.forget()

    # Hits

    def hit(self, thread: Tracee) -> bool:
        """A thread stopped with SIGTRAP: whether that was ours. If so, it goes on."""
        space = thread.owner.space
        registers = self.loop.registers
        if space is None or registers.get(thread.pid) < 0:
            return False
        words = registers.words
        address = words[PC] - _AFTER
        place = space.places.get(address)
        if place is None:
            return self._stale(thread, address)
        words[PC] = thread.pc = address
        thread.at_entry = place.site is not None and place.code.startswith(_ENTRIES)
        record = registers.pt_regs()
        self._returned(thread, space, address, words[SP], record)
        site = place.site
        if site is not None:
            for fire in site.enter:
                fire(record, thread, address=address)
            if site.returns:
                self._expect(thread, space, address, site)
        thread.pc, thread.at_entry = 0, False
        # Programs may have looked at registers: stacks are read into the same buffer.
        registers.get(thread.pid)
        words[PC] = address
        if address in space.places:
            self._pass(thread, space, address, place)
        else:
            registers.set(thread.pid)
            self.loop.go_on(thread)
        return True

    def _stale(self, thread: Tracee, address: int) -> bool:
        """A breakpoint that was taken away after the thread had run into it: the original is to run now."""
        if not self._is_ours(thread, address):
            return False
        self.loop.registers.words[PC] = address
        self.loop.registers.set(thread.pid)
        self.loop.go_on(thread)
        return True

    def _is_ours(self, thread: Tracee, address: int) -> bool:
        """Whether a breakpoint gave the signal that is at `address` no more."""
        try:
            if thread.read(address, len(TRAP)) == TRAP:
                return False  # the program's own
        except OSError:
            return False
        info = pt.get_siginfo(thread.pid)
        return len(info) >= 12 and int.from_bytes(info[8:12], "little") in (0x80, 1)  # else: kill, a timer

    def _expect(self, thread: Tracee, space: Space, function: int, site: Site) -> None:
        words = self.loop.registers.words
        if _ARM:
            address, sp = words[30], words[SP]
        else:
            try:
                address = int.from_bytes(thread.read(words[SP], 8), "little")
            except OSError:
                return
            sp = words[SP] + 8
        # A tail call: the caller's frame is the callee's, both return at once.
        place = space.places.get(address) or self._insert(thread.owner, space, address)
        if place is not None:
            place.waiting += 1
            thread.returns.append(Return(address, sp, site.returns, function))

    def _returned(self, thread: Tracee, space: Space, address: int, sp: int, record: bytes) -> None:
        """Run what waits for this return; forget calls that were left without one (longjmp, exceptions)."""
        returns = thread.returns
        if not returns:
            return
        while returns and returns[-1].sp < sp:
            self._drop_last(thread, space)
        while returns and returns[-1].address == address and returns[-1].sp == sp:
            last = returns[-1]
            for fire in last.fires:
                fire(record, thread, address=last.function)
            self._drop_last(thread, space, address)

    def _drop_last(self, thread: Tracee, space: Space, keep: int = -1) -> None:
        gone = thread.returns.pop()
        place = space.places.get(gone.address)
        if place is not None:
            place.waiting -= 1
            # The one that a thread stands on goes when nobody waits any more: after this hit.
            if not place.waiting and place.site is None:
                self._remove(thread.owner, space, gone.address)

    def _drop_returns(self, thread: Tracee, space: Space, down_to: int) -> None:
        while len(thread.returns) > down_to:
            self._drop_last(thread, space)

    # Past a breakpoint

    def _pass(self, thread: Tracee, space: Space, address: int, place: Place) -> None:
        registers = self.loop.registers
        if not _ARM:
            from ._breakpoints_x86 import emulate

            try:
                if emulate(place.code, registers.words, thread):
                    registers.set(thread.pid)
                    self.loop.go_on(thread)
                    return
            except (OSError, IndexError):
                registers.get(thread.pid)
                registers.words[PC] = address
        copy = place.copy or self._copy(thread, space, address, place)
        if copy > 0:
            registers.get(thread.pid)
            registers.words[PC] = copy
            registers.set(thread.pid)
            thread.stepping = Step(address, copy, place.code)
        else:
            registers.set(thread.pid)
            self._write(thread.owner, address, place.code[: len(TRAP)])
            thread.stepping = Step(address, 0, place.code)
        pt.ptrace(pt.SINGLESTEP, thread.pid)

    def _copy(self, thread: Tracee, space: Space, address: int, place: Place) -> int:
        """Make a copy of an instruction; its address, or -1."""
        place.copy = -1
        if _ARM:
            return -1  # what depends on its place is not told apart here
        from ._breakpoints_x86 import moved

        page = next((p for p in space.pages if abs(p[0] - address) < _NEAR and p[1] < _PAGE), None)
        if page is None:
            page = self._map_page(thread, space, address)
        if page is None:
            return -1
        at = page[0] + page[1]
        code = moved(place.code, at - address)
        if code is None:
            return -1
        try:
            os.pwrite(thread.owner.open(), code, at)
        except OSError:
            return -1
        page[1] += _SLOT
        place.copy = at
        return at

    def _map_page(self, thread: Tracee, space: Space, address: int) -> list[int] | None:
        """Have the process map a page for copies, near enough for relative addresses."""
        from ._sources_ptrace_inject import Injection, call_instruction

        instruction = call_instruction(thread)
        where = _gap(thread.tgid, address)
        if not instruction or not where:
            return None
        with Injection(thread, self.loop.waiter, instruction=instruction) as work:
            got = work.call(_MMAP, where, _PAGE, 5, 0x100022, -1 & (1 << 64) - 1, 0) if work.ok else -1
        if got <= 0 or abs(got - address) >= _NEAR:
            return None
        page = [got, 0]
        space.pages.append(page)
        return page

    def stepped(self, thread: Tracee, status: int) -> None:
        """A thread that was to make a single step has stopped."""
        step = thread.stepping
        number = status >> 8 & 0x7F
        if step is None:
            return
        if status >> 16:
            if status >> 16 == pt.EVENT_STOP:
                pt.ptrace(pt.SINGLESTEP, thread.pid)  # an interrupt came in between
                return
            self._end_step(thread, step)
            self.loop.stop(thread.pid, status)
            return
        if number != SIGTRAP:
            # A handler would run first, and come back to the breakpoint: the signal waits until the step is made.
            if number in (4, 7, 8, 11) and self._faulted(thread):
                self._end_step(thread, step)
                self.loop.stop(thread.pid, status)
                return
            thread.held.append((number, pt.get_siginfo(thread.pid)))
            pt.ptrace(pt.SINGLESTEP, thread.pid)
            return
        if self._end_step(thread, step):
            self._release(thread)
        else:
            thread.stepping = step  # a string instruction that goes on
            pt.ptrace(pt.SINGLESTEP, thread.pid)

    def _faulted(self, thread: Tracee) -> bool:
        """Whether the instruction itself gave the signal: it is to have it, in its own place."""
        info = pt.get_siginfo(thread.pid)
        return len(info) >= 12 and int.from_bytes(info[8:12], "little", signed=True) > 0

    def _end_step(self, thread: Tracee, step: Step) -> bool:
        """Put the thread back where it belongs; False when the instruction has not moved on."""
        thread.stepping = None
        space = thread.owner.space
        if not step.copy:
            if space is not None and step.address in space.places:
                self._write(thread.owner, step.address, TRAP)
            return True
        from ._breakpoints_x86 import pushes_return

        registers = self.loop.registers
        if registers.get(thread.pid) < 0:
            return True
        words = registers.words
        after = words[PC] - step.copy
        if pushes_return(step.code):
            pushed = int.from_bytes(thread.read(words[SP], 8), "little")
            if 0 < pushed - step.copy <= _LONGEST:
                thread.write(words[SP], (pushed - step.copy + step.address).to_bytes(8, "little"))
        if 0 <= after <= _LONGEST:
            words[PC] = step.address + after
            registers.set(thread.pid)
        return after != 0

    def _release(self, thread: Tracee) -> None:
        """Let it run, with the first signal that was held back; further ones are sent again."""
        if not thread.held:
            self.loop.go_on(thread)
            return
        number, info = thread.held.pop(0)
        for later, _ in thread.held:
            pt.tgkill(thread.tgid, thread.pid, later)
        thread.held = []
        if info:
            pt.set_siginfo(thread.pid, info)
        if self.loop.wanted.events:
            self.loop.events.signal(thread, number)
        self.loop.go_on(thread, number)

    def repair(self, thread: Tracee, status: int) -> int:
        """Before a thread goes on untraced: the signal that it is to get.

        -1: it has run into a breakpoint whose signal is yet to come, and has to go on to that first.
        """
        number = 0 if status >> 16 or status >> 8 & 0x80 else status >> 8 & 0x7F
        step = thread.stepping
        if step is not None:
            self._end_step(thread, step)
            return 0 if number == SIGTRAP else number
        registers = self.loop.registers
        if thread.owner.space is None or registers.get(thread.pid) < 0:
            return number
        address = registers.words[PC] - _AFTER
        if number == SIGTRAP and self._is_ours(thread, address):
            registers.words[PC] = address
            registers.set(thread.pid)
            return 0
        if number == 0 and int(read_status(thread.pid).get("SigPnd", "0"), 16) & 1 << SIGTRAP - 1:
            return -1
        return number


def _clean(code: bytes, space: Space, address: int) -> bytes:
    """The instruction's bytes as they were before any breakpoint, those of its neighbours too."""
    out = bytearray(code)
    for at in range(1, len(out)):
        near = space.places.get(address + at)
        if near is not None:
            out[at : at + len(TRAP)] = near.code[: len(TRAP)]
    return bytes(out)


def _gap(pid: int, address: int) -> int:
    """A page that is free in the process, as near to `address` as there is one; 0 for none."""
    best, end = 0, 0x10000
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                start, stop = (int(word, 16) for word in line.split(" ", 1)[0].split("-"))
                if start - end >= 2 * _PAGE:
                    # Not next to a stack or heap, which grow: the middle of small gaps, well away in large ones.
                    distance = min((start - end) // 2, 0x100_0000) & ~(_PAGE - 1)
                    for at in (start - distance, end + distance):
                        if abs(at - address) < abs(best - address) and end <= at <= start - _PAGE:
                            best = at
                end = stop
    except OSError:
        return 0
    return best
