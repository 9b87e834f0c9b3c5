"""A program as the engines take it: linked, decoded, checked for form, with its maps at hand."""

from __future__ import annotations

from bisect import bisect_right

from ..errors import FormatError, IsaError, NotSupported, VmError
from ..isa import decode, op
from ..objects import line_at
from ._code_check import CALL, check, falls_through, target
from ._machine import CODE_SHIFT, FUNCTION_HANDLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..isa import Instruction
    from ..objects import CoreRelocation, LineInfo, LinkedProgram, Object, ProgramSpec
    from ._machine import Machine

MASK = 0xFFFF_FFFF_FFFF_FFFF
# Instructions with CO-RE relocations -> those that they became, the oldest first: tests load one object many times.
_patched: dict[tuple[bytes, tuple[CoreRelocation, ...], bytes], bytes] = {}
_MOST_PATCHED = 256
_TAIL_CALL = 12


class Code:
    """One program on one machine.

    slots       instructions, one per 8 bytes (a 64-bit load has two)
    starts      first slots of its functions, the entry (0) first
    constants   slot of a 64-bit load -> the number that it gives
    maps        the machine's maps that `constants` came from; `map_slots`: slot -> map
    callbacks   first slots of functions whose address is taken
    helpers     numbers of the helpers that it calls
    number      unique on its machine
    """

    __slots__ = (
        "callbacks", "constants", "cookie", "engines", "helpers", "insns", "lines", "machine", "map_slots", "maps",
        "name", "names", "number", "slots", "starts", "type",
    )  # fmt: skip

    def __init__(
        self,
        insns: bytes,
        machine: Machine,
        *,
        maps: Sequence[Any] = (),
        map_slots: Mapping[int, tuple[Any, int]] | None = None,
        name: str = "program",
        type: int = 0,
        lines: Sequence[LineInfo] = (),
        names: Sequence[str] = (),
    ) -> None:
        """`insns`: subprograms behind the entry. 64-bit loads with source 1, 2, 5 or 6 hold an index into `maps`.

        `map_slots` names the map (and an offset in its value, -1 for the map itself) of loads that came as
        relocations. VmError for bytecode that no engine can run, NotSupported for what user space lacks.
        """
        self.insns = bytes(insns)
        self.machine = machine
        self.maps = tuple(maps)
        self.name = name
        self.type = type
        self.lines = tuple(lines)
        self.names = tuple(names)
        self.number = machine.new_code()
        self.cookie = 0
        self.constants: dict[int, int] = {}
        self.map_slots: dict[int, Any] = {}
        self.callbacks: set[int] = set()
        self.helpers: set[int] = set()
        self.engines: dict[object, Any] = {}  # what engines made of it
        try:
            self.slots = decode(self.insns)
        except IsaError as error:
            raise VmError(f"load {name}: {error.message}", program=name) from None
        if not self.slots:
            raise VmError(f"load {name}: no instructions", program=name)
        starts = self._scan(map_slots or {})
        self.starts = tuple(sorted(starts))
        self._check_flow()
        for number in self.helpers - {_TAIL_CALL}:  # that one is an instruction to the engines
            machine.helper(number, name)

    @classmethod
    def from_spec(cls, obj: Object, spec: ProgramSpec, machine: Machine, maps: Mapping[str, Any]) -> Code:
        """Link a program of an object; `maps` by name, added to the machine before."""
        from ..objects import link

        linked = _relocated(link(spec, obj), obj, spec.name)
        slots: dict[int, tuple[Any, int]] = {}
        for r in linked.relocations:
            found = maps.get(".kconfig" if r.kind == "kconfig" else r.symbol)
            if r.kind not in ("map", "map_value", "kconfig") or found is None:
                if r.weak and found is None:
                    continue
                raise VmError(
                    f"load {spec.name}: {r.kind} {r.symbol!r} does not exist in user space", program=spec.name
                )
            slots[r.insn] = (found, -1 if r.kind == "map" else r.addend)
        return cls(
            linked.insns,
            machine,
            map_slots=slots,
            name=spec.name,
            type=spec.type,
            lines=linked.lines,
            names=linked.names,
        )

    def _scan(self, given: Mapping[int, tuple[Any, int]]) -> set[int]:
        """Check each instruction, resolve 64-bit loads; the first slots of all functions."""
        starts = {0}
        slots, at = self.slots, 0
        while at < len(slots):
            i = slots[at]
            check(i, at, self.name)
            if i.is_wide:
                self.constants[at] = self._constant(i, at, given) & MASK
                at += 1
            elif i.opcode == CALL:
                if i.src == op.PSEUDO_CALL:
                    starts.add(self._function(at, i.imm))
                else:
                    self.helpers.add(i.imm)
            at += 1
        return starts | self.callbacks

    def _function(self, at: int, distance: int) -> int:
        start = at + 1 + distance
        if not 0 <= start < len(self.slots) or (start and self.slots[start - 1].is_wide):
            raise VmError(f"load {self.name}: instruction {at} calls slot {start}, no function", program=self.name)
        return start

    def _constant(self, i: Instruction, at: int, given: Mapping[int, tuple[Any, int]]) -> int:
        low, high = i.imm & 0xFFFF_FFFF, self.slots[at + 1].imm
        if at in given:
            made, offset = given[at]
            self.map_slots[at] = made
            return self._value_address(made, offset, at) if offset >= 0 else int(made.handle)
        if i.src == 0:
            return high << 32 | low
        if i.src == op.PSEUDO_FUNC:
            start = self._function(at, i.imm)
            self.callbacks.add(start)
            return self.handle(start)
        if i.src in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_IDX, op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX_VALUE):
            if not 0 <= i.imm < len(self.maps):
                raise VmError(f"load {self.name}: instruction {at}: there is no map {i.imm}", program=self.name)
            made = self.maps[i.imm]
            self.map_slots[at] = made
            if i.src in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_IDX):
                return int(made.handle)
            return self._value_address(made, high & 0xFFFF_FFFF, at)
        raise VmError(f"load {self.name}: instruction {at}: kernel variables do not exist here", program=self.name)

    def _value_address(self, made: Any, offset: int, at: int) -> int:
        base = int(made.lookup_address(bytes(made.key_size), 0))
        if not base or offset >= made.value_size * made.max_entries:
            raise VmError(
                f"load {self.name}: instruction {at}: map {made.name} has no value at offset {offset}",
                program=self.name,
            )
        return base + offset

    def handle(self, start: int) -> int:
        """What the program holds as address of its function at slot `start`."""
        return FUNCTION_HANDLES + (self.number << CODE_SHIFT) + start

    def function_of(self, slot: int) -> tuple[int, int]:
        """(first slot, slot behind the last) of the function that `slot` is in."""
        k = bisect_right(self.starts, slot)
        return self.starts[k - 1], self.starts[k] if k < len(self.starts) else len(self.slots)

    def _check_flow(self) -> None:
        """Jumps stay inside of their function and hit instructions; no function runs on into the next."""
        ends = (*self.starts[1:], len(self.slots))
        for start, end in zip(self.starts, ends):
            at = start
            while at < end:
                i = self.slots[at]
                to = target(i, at)
                if to is not None and (not start <= to < end or (to and self.slots[to - 1].is_wide)):
                    raise VmError(
                        f"load {self.name}: instruction {at} jumps to {to}, outside of its function", program=self.name
                    )
                last, at = i, at + (2 if i.is_wide else 1)
            if falls_through(last):
                raise VmError(f"load {self.name}: the function at {start} runs past its end", program=self.name)

    def line_of(self, slot: int) -> LineInfo | None:
        """The source line of an instruction, when the program says."""
        return line_at(self.lines, slot)


def _relocated(linked: LinkedProgram, obj: Object, name: str) -> LinkedProgram:
    """CO-RE relocations resolved in this machine's types, as they are where it is verified: structs that helpers make
    are laid out so. NotSupported where those types cannot be read.
    """
    if not linked.core:
        return linked
    key = linked.insns, linked.core, obj.btf
    found = _patched.get(key)
    if found is None:
        if len(_patched) >= _MOST_PATCHED:
            del _patched[next(iter(_patched))]
        found = _patched[key] = _patch(linked, obj, name).insns
    return linked.replace(insns=found, core=())


def _patch(linked: LinkedProgram, obj: Object, name: str) -> LinkedProgram:
    from contextlib import closing

    from ..btf import load_kernel_btf
    from ..objects import apply_core

    try:
        kernel = load_kernel_btf()
    except (FormatError, OSError) as error:
        raise NotSupported(
            f"load {name}: its CO-RE relocations need this machine's types: {error}", feature="CO-RE relocations"
        ) from None
    with closing(kernel):
        return apply_core(linked, obj.btf, kernel)
