"""Native code at work: its state block, helpers called from it, and what it says when it ends early."""

from __future__ import annotations

from ..errors import VmError, VmFault
from . import _jit_state as slot
from ._interpreter import DEFAULT_FUEL, FUEL_HINT
from ._interpreter_steps import place
from ._machine import TAIL_CALL, TAIL_CALLS
from ._memory import BUDGET, UNBOUNDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ._code import Code
    from ._jit_many import Verdicts
    from ._machine import Helper, Machine
    from ._memory import Region
    from ._native_image import NativeCode

MASK = 0xFFFF_FFFF_FFFF_FFFF
_CLOCK = "clock_gettime"
_WORDS = {"read": "out of bounds", "write": "out of bounds or read-only"}


class Native:
    """A compiled program; a context manager. Closing it unmaps the code."""

    def __init__(
        self, code: Code, machine: Machine, native: NativeCode, constants: tuple[tuple[str, int], ...], *, checked: bool
    ) -> None:
        import mmap

        from ..syscalls.native import buffer_address, native_function, python_api

        self.code = code
        self.machine = machine
        self.checked = checked
        self._native = native
        self._keep: list[object] = []
        self._made: list[Native] = []  # programs that tail calls had compiled
        self._others: dict[int, Native] = {}  # by the address of their state
        self._block = mmap.mmap(-1, max(4096, (slot.CONSTANTS + len(constants)) * 8), flags=0x22)
        self._state = memoryview(self._block).cast("Q")
        self.state_address = buffer_address(self._block)
        if constants:
            for index, address in enumerate(python_api(), slot.ENSURE):
                self._state[index] = address
        for index, (kind, number) in enumerate(constants, slot.CONSTANTS):
            self._state[index] = self._constant(kind, number) & MASK
        self.entry = native.address("f0")
        self._enter: Callable[..., int] = native_function(self.entry, 6)
        self._callbacks = {
            code.handle(start): self._callback(native_function(native.address(f"f{start}"), 6))
            for start in code.callbacks
        }
        self._tail_calls = 0
        self._clock = 0
        # Programs without helpers do not ask about the world and cannot be called back.
        self._asks = bool(code.helpers or constants)
        if checked:
            self._state[slot.TABLE] = machine.memory.native_table()
        code.engines["native", checked] = self

    # Constants of the code

    def _constant(self, kind: str, number: int) -> int:
        if kind == "load":
            return self.code.constants[number]
        if kind == "function":
            return self.code.handle(number)
        if kind.startswith("map:"):
            return int(getattr(self.code.map_slots[number], kind[4:]))
        if kind == "helper":
            return self._wrap(self._helper(self.machine.helper(number, self.code.name)))
        if kind == "indirect":
            return self._wrap(self._indirect(number))
        python: dict[str, Callable[..., int]] = {
            "packet": self._packet,
            "tail": self._tail,
            "tail_done": self._tail_done,
        }
        return self._wrap(python[kind])

    def _helper(self, helper: Helper) -> Callable[..., int]:
        machine = self.machine

        def call(r1: int, r2: int, r3: int, r4: int, r5: int, _: int) -> int:
            return helper(machine, r1, r2, r3, r4, r5)

        return call

    def _wrap(self, function: Callable[..., int]) -> int:
        """The object that native code calls: what `function` raises waits until the code has returned."""
        machine, state = self.machine, self._state

        def guarded(*values: int) -> int:
            try:
                return function(*values) & MASK
            except BaseException as error:  # an interrupt too
                machine.pending = place(error, machine, self.code.name, state[slot.INSN])
                state[slot.PENDING] = slot.RAISED
                return 0

        self._keep.append(guarded)
        return id(guarded)

    def _packet(self, context: int, offset: int, size: int, *_: int) -> int:
        from ._packet_load import load

        return load(self.machine, context, offset, size)

    def _indirect(self, at: int) -> Callable[..., int]:
        def call(value: int, *arguments: int) -> int:
            if value > 0xFFFF_FFFF or value == TAIL_CALL:
                raise VmFault(
                    f"run {self.code.name}: instruction {at}: call of {value:#x}, which is no function of this program",
                    kind="call", insn=at, program=self.code.name,
                )  # fmt: skip
            r1, r2, r3, r4, r5 = arguments
            return self.machine.helper(value, self.code.name)(self.machine, r1, r2, r3, r4, r5)

        return call

    def _tail(self, made: int, index: int, *_: int) -> int:
        """The entry of the program at `index` of a program array, 0 when there is none; its state in TAIL_STATE."""
        program = self.machine.map_at(made).program_at(index & 0xFFFF_FFFF)
        if program is None or self._tail_calls >= TAIL_CALLS:
            return 0
        code = program if hasattr(program, "slots") else program.code
        other: Native | None = code.engines.get(("native", self.checked))
        if other is None or not other.entry:
            from ._jit import compile

            other = compile(code, self.machine, checked=self.checked)
            self._made.append(other)
        if other is not self:
            self._pass_on(other)
        self._tail_calls += 1
        other._tail_calls = self._tail_calls
        other._state[slot.DEPTH] = 0
        self._state[slot.TAIL_STATE] = other.state_address
        return other.entry

    def _pass_on(self, other: Native) -> None:
        other._prepare(0, self._state[slot.STACK])
        other._state[slot.FUEL] = self._state[slot.FUEL]
        self._others[other.state_address] = other

    def _tail_done(self, address: int, *_: int) -> int:
        """What the tail-called program left: its fault is ours, the fuel it burnt too."""
        other = self._others.get(address)
        if other is not None:
            self._tail_calls = other._tail_calls  # they count for the whole run
            for index in (slot.PENDING, slot.KIND, slot.INSN, slot.ADDRESS, slot.SIZE, slot.FUEL):
                self._state[index] = other._state[index]
            if self._state[slot.PENDING] == slot.FAULT:
                self.machine.pending = other._fault()
                self._state[slot.PENDING] = slot.RAISED
        return 0

    def _callback(self, function: Callable[..., int]) -> Callable[..., int]:
        """A function of the program, for helpers: on a stack of its own, and what it raises comes out here."""

        def call(*arguments: int) -> int:
            machine, state = self.machine, self._state
            given = [value & MASK for value in arguments] + [0] * (5 - len(arguments))
            if not machine.depth:  # a timer: no run has prepared the state
                self._prepare(DEFAULT_FUEL, machine.stack_top)
            outer = state[slot.STACK], state[slot.DEPTH]
            state[slot.STACK], state[slot.DEPTH] = machine.stack_top, 0
            machine.depth += 1
            try:
                result = function(*given, self.state_address)
            finally:
                machine.depth -= 1
                state[slot.STACK], state[slot.DEPTH] = outer
            self._raise_pending()
            return result

        return call

    # Runs

    def _prepare(self, fuel: int, stack: int) -> None:
        state, machine = self._state, self.machine
        if machine.memory.closed_maps:
            self._check_maps()
        state[slot.PENDING] = 0
        state[slot.FUEL] = fuel
        state[slot.DEPTH] = 0
        state[slot.STACK] = stack
        if self.checked:
            state[slot.READ_LIMIT] = state[slot.WRITE_LIMIT] = 0
        if not self._asks:
            return
        world = machine.world
        state[slot.CPU] = world.cpu & MASK
        state[slot.PID_TGID] = (world.tgid << 32 | world.pid & 0xFFFF_FFFF) & MASK
        state[slot.UID_GID] = (world.gid << 32 | world.uid & 0xFFFF_FFFF) & MASK
        state[slot.CLOCK] = self._clock_address() if world.is_live else 0
        machine.functions.update(self._callbacks)

    def _check_maps(self) -> None:
        """VmError when a map of the program is closed: its memory is gone, or may be another's."""
        for made in self.code.map_slots.values():
            if made.closed:
                raise VmError(f"run {self.code.name}: its map {made.name} is closed", program=self.code.name)

    def _clock_address(self) -> int:
        if not self._clock:
            from ..syscalls.native import symbol_address

            self._clock = symbol_address(_CLOCK)
        return self._clock

    def run(self, r1: int = 0, r2: int = 0, *, fuel: int = DEFAULT_FUEL) -> int:
        """Run the program once; r0, unsigned. `fuel` bounds checked code only, in about instructions.

        Raises VmFault for what checked code must not do, and whatever a helper raised.
        """
        if not self.entry:
            raise VmError(f"run {self.code.name}: it was closed", program=self.code.name)
        machine, state = self.machine, self._state
        outer = machine.context
        # A helper of a run that is on may have asked for this one.
        interrupted = (
            (state[slot.FUEL], state[slot.DEPTH], state[slot.STACK], self._tail_calls) if machine.depth else None
        )
        self._prepare(fuel, machine.stack_top)
        self._tail_calls = 0
        if not machine.depth:
            machine.context = r1
            if self.checked:
                machine.memory.budget = BUDGET
        machine.depth += 1
        try:
            result = self._enter(r1 & MASK, r2 & MASK, 0, 0, 0, self.state_address)
        finally:
            machine.depth -= 1
            machine.context = outer
            if self.checked and not machine.depth:
                machine.memory.budget = UNBOUNDED
            if interrupted is not None:
                state[slot.FUEL], state[slot.DEPTH], state[slot.STACK], self._tail_calls = interrupted
        if self._state[slot.PENDING]:
            self._raise_pending()
        return result

    def _raise_pending(self) -> None:
        pending = self._state[slot.PENDING]
        if not pending:
            return
        self._state[slot.PENDING] = 0
        error, self.machine.pending = self.machine.pending, None
        if pending == slot.RAISED:
            raise error or KeyboardInterrupt  # nothing else can end a helper's guard
        raise self._fault()

    def _fault(self) -> VmFault:
        state = self._state
        kind, insn = slot.KINDS[state[slot.KIND]], state[slot.INSN]
        address, size = state[slot.ADDRESS], state[slot.SIZE]
        line = self.code.line_of(insn)
        where = f" ({line.file}:{line.line})" if line is not None else ""
        head = f"run {self.code.name}: instruction {insn}{where}: "
        if kind in ("read", "write"):
            from ._memory import fault

            made = fault(self.machine.memory, address, size, kind == "write", insn)
            made.program = self.code.name
            return made
        why = {
            "fuel": "the fuel is used up: an endless loop?",
            "depth": "too many frames: endless recursion?",
            "atomic": f"atomic access of {size} bytes at {address:#x}, which is not aligned",
        }.get(kind, kind)
        hint = FUEL_HINT if kind == "fuel" else ""
        return VmFault(head + why, kind=kind, insn=insn, address=address, size=size, program=self.code.name, hint=hint)

    def repeat(self, r1: int, r2: int, times: int) -> int:
        """Run it `times` times in one native loop; the last r0. For measuring."""
        from ._jit_driver import driver

        self._prepare(MASK >> 1, self.machine.stack_top)
        result = driver().repeat(self.entry, r1, r2, self.state_address, times)
        self._raise_pending()
        return result

    def run_many(
        self, packets: Region, offsets: Any, lengths: Any, *, context: int = 0, layout: Any = None
    ) -> Verdicts:
        """Run it on each packet of `packets` (memory below 4 GiB); see `_jit_many.run_many`."""
        from ._jit_many import run_many

        return run_many(self, packets, offsets, lengths, context, layout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the code; it cannot run any more."""
        if not self.entry:
            return
        self.entry = 0
        if self.code.engines.get(("native", self.checked)) is self:
            del self.code.engines["native", self.checked]
        for handle in self._callbacks:
            self.machine.functions.pop(handle, None)
        self._callbacks.clear()
        for made in self._made:
            made.close()
        self._made.clear()
        self._others.clear()
        self._native.close()
        self._state.release()
        self._keep.clear()
