"""The reference interpreter: one closure per instruction, every access within the machine's regions.

A run's state is a list: r[0] to r[10] are the registers, r[11] the frames of callers, r[12] what is left of this
function's may_goto budget, r[13] the fuel (an iterator that one instruction takes one step of).
"""

from __future__ import annotations

from ..errors import VmError, VmFault
from ._interpreter_steps import Done, build
from ._machine import FRAME_SIZE
from ._memory import BUDGET, UNBOUNDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._code import Code
    from ._machine import Machine

MAY_GOTO_BUDGET = 8 << 20  # BPF_MAX_LOOPS; the kernel keeps one per frame
DEFAULT_FUEL = 100_000_000
FUEL_HINT = "if it is none, give more fuel"
MASK = 0xFFFF_FFFF_FFFF_FFFF


def run(
    code: Code,
    machine: Machine,
    r1: int = 0,
    r2: int = 0,
    *,
    fuel: int = DEFAULT_FUEL,
    checked: bool = True,
) -> int:
    """Run `code` from its entry; r0, unsigned. `fuel` is in instructions, of callbacks and tail calls too.

    VmFault for what a program must not do. `checked=False` lets accesses go anywhere: only for verified programs, a
    wild pointer ends the process.
    """
    interpreter = _interpreter(code, checked)
    outer = machine.context, interpreter.fuel, interpreter.tail_calls
    if not machine.depth:
        machine.context = r1
        machine.memory.budget = BUDGET if checked else UNBOUNDED
    interpreter.fuel, interpreter.tail_calls, interpreter.limit = iter(range(fuel)), 0, fuel
    for start in code.callbacks:
        machine.functions[code.handle(start)] = interpreter.callback(start)
    try:
        return interpreter.enter(0, (r1, r2))
    finally:
        machine.context, interpreter.fuel, interpreter.tail_calls = outer
        if not machine.depth:
            machine.memory.budget = UNBOUNDED


def _interpreter(code: Code, checked: bool) -> Interpreter:
    key = ("interpreter", checked)
    found: Interpreter | None = code.engines.get(key)
    if found is None:
        found = code.engines[key] = Interpreter(code, checked)
    return found


class Interpreter:
    """The closures of one program."""

    def __init__(self, code: Code, checked: bool) -> None:
        self.code = code
        self.machine = code.machine
        self.checked = checked
        self.fuel: Iterator[int] = iter(())
        self.limit = DEFAULT_FUEL
        self.tail_calls = 0
        self.steps = build(self)

    def callback(self, start: int) -> Callable[..., int]:
        """The function at `start`, as helpers call it."""

        def call(*arguments: int) -> int:
            if not self.machine.depth:  # a timer: nobody's run gives it fuel
                self.fuel = iter(range(self.limit))
            return self.enter(start, arguments)

        return call

    def enter(self, start: int, arguments: tuple[int, ...]) -> int:
        """Run the function at `start` on a stack of its own."""
        machine = self.machine
        top = machine.stack_top
        machine.depth += 1
        try:
            return self.execute(start, arguments, top)
        finally:
            machine.depth -= 1

    def execute(self, start: int, arguments: tuple[int, ...], top: int) -> int:
        """Run the function at `start` in the frame that ends at `top`."""
        r: list[Any] = [0] * 14
        for register, value in enumerate(arguments, 1):
            r[register] = value & MASK
        r[10], r[11], r[12], r[13] = top, [], MAY_GOTO_BUDGET, self.fuel
        steps, at = self.steps, start
        try:
            for _ in self.fuel:
                at = steps[at](r)
        except Done:
            result: int = r[0]
            return result
        raise self.fault("the fuel is used up: an endless loop?", "fuel", at)

    def tail_call(self, r: list[Any]) -> bool:
        """bpf_tail_call: run the program at index r3 of map r2 in this frame; False when there is none."""
        found = self.machine.map_at(r[2])
        program = found.program_at(r[3] & 0xFFFF_FFFF)
        if program is None or self.tail_calls >= 33:  # MAX_TAIL_CALL_CNT
            return False
        code = program if hasattr(program, "slots") else program.code
        other = _interpreter(code, self.checked)
        outer = other.fuel, other.tail_calls
        other.fuel, other.tail_calls = self.fuel, self.tail_calls + 1
        try:
            r[0] = other.execute(0, (r[1],), r[10])
        finally:
            done = other.tail_calls
            other.fuel, other.tail_calls = outer
            # They count for the whole run (kernel commit 116e04ba1459, 6.12).
            self.tail_calls = done
        return True

    def fault(self, why: str, kind: str, insn: int, address: int = 0, size: int = 0) -> VmFault:
        """A VmFault of this program at `insn`, with its source line."""
        line = self.code.line_of(insn)
        where = f" ({line.file}:{line.line})" if line is not None else ""
        return VmFault(
            f"run {self.code.name}: instruction {insn}{where}: {why}",
            kind=kind,
            insn=insn,
            address=address,
            size=size,
            program=self.code.name,
            hint=FUEL_HINT if kind == "fuel" else "",
        )


__all__ = ["DEFAULT_FUEL", "FRAME_SIZE", "MAY_GOTO_BUDGET", "Interpreter", "VmError", "run"]
