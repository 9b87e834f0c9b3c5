"""Registers, stack slots, frames and states of the walk.

A `Reg` and a `Slot` never change: states share them, so that a branch costs a few short list copies.
"""

from __future__ import annotations

from ._scalar import UNKNOWN, const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._scalar import Scalar
    from ._types import MapInfo

# Kinds of registers.
(
    NOT_INIT,
    SCALAR,
    CTX,
    MAP_PTR,
    MAP_VALUE,
    MAP_KEY,
    STACK,
    PACKET,
    PACKET_META,
    PACKET_END,
    FLOW_KEYS,
    SOCKET,
    SOCK_COMMON,
    TCP_SOCK,
    TP_BUFFER,
    XDP_SOCK,
    BTF_ID,
    MEM,
    BUF,
    FUNC,
    DYNPTR,
    ARENA,
    ITER,
) = range(23)

# Flags of a register.
MAYBE_NULL = 1
RDONLY = 2
RINGBUF = 4
UNTRUSTED = 8
TRUSTED = 16
RCU = 32
PERCPU = 64
ALLOC = 128
NON_OWN_REF = 256
DYNPTR_FIRST = 512

_NAMES = (
    "?",
    "scalar",
    "ctx",
    "map_ptr",
    "map_value",
    "map_key",
    "fp",
    "pkt",
    "pkt_meta",
    "pkt_end",
    "flow_keys",
    "sock",
    "sock_common",
    "tcp_sock",
    "tp_buffer",
    "xdp_sock",
    "ptr_",
    "mem",
    "buf",
    "func",
    "dynptr_ptr",
    "arena",
    "iter",
)
_PREFIXES = ((RDONLY, "rdonly_"), (RINGBUF, "ringbuf_"), (PERCPU, "percpu_"), (UNTRUSTED, "untrusted_"))
_PREFIXES_2 = ((TRUSTED, "trusted_"), (RCU, "rcu_"), (ALLOC, "alloc_"), (NON_OWN_REF, "non_own_ref_"))

ZERO = const(0)


def kind_name(kind: int, flags: int = 0) -> str:
    """The kernel's name of a register type, such as `map_value_or_null`."""
    prefix = "".join([text for bit, text in _PREFIXES + _PREFIXES_2 if flags & bit])
    name = prefix + _NAMES[kind]
    if not flags & MAYBE_NULL:
        return name
    return f"{name}or_null_" if kind == BTF_ID else f"{name}_or_null"


class Reg:
    """One register's knowledge. `var` is a scalar's value or a pointer's variable offset, `off` the fixed offset.

    `id` ties registers that share a fate (null check, packet range, equal scalars); `ref` is a reference held.
    `size` is a packet pointer's proven range or a memory's size, `frame` a stack pointer's frame, `origin` the
    instruction that made the value, `linked` (0, or 32 or 64 bits) says that `off` is the distance to the other scalars
    of the same id.
    """

    __slots__ = ("btf", "flags", "frame", "id", "kind", "linked", "map", "off", "origin", "ref", "size", "var")

    def __init__(
        self,
        kind: int,
        var: Scalar = ZERO,
        origin: int = -1,
        off: int = 0,
        id: int = 0,
        flags: int = 0,
        map: MapInfo | None = None,
        size: int = 0,
        frame: int = 0,
        ref: int = 0,
        btf: int = 0,
        linked: int = 0,
    ) -> None:
        self.kind = kind
        self.var = var
        self.origin = origin
        self.off = off
        self.id = id
        self.flags = flags
        self.map = map
        self.size = size
        self.frame = frame
        self.ref = ref
        self.btf = btf
        self.linked = linked

    def copy(self) -> Reg:
        """A fresh register to be changed by its maker before anyone else sees it."""
        return Reg(
            self.kind,
            self.var,
            self.origin,
            self.off,
            self.id,
            self.flags,
            self.map,
            self.size,
            self.frame,
            self.ref,
            self.btf,
            self.linked,
        )

    @property
    def name(self) -> str:
        """The kernel's name of the type."""
        return kind_name(self.kind, self.flags)

    def same(self, other: Reg) -> bool:
        """Whether both say the same, identities and origin apart."""
        return self is other or (
            self.kind == other.kind
            and self.off == other.off
            and self.flags == other.flags
            and self.map is other.map
            and self.size == other.size
            and self.frame == other.frame
            and self.btf == other.btf
            and self.linked == other.linked
            and (self.var is other.var or self.var == other.var)
        )


UNINIT = Reg(NOT_INIT, UNKNOWN)


def scalar(var: Scalar, origin: int) -> Reg:
    """A scalar register."""
    return Reg(SCALAR, var, origin)


def unknown(origin: int) -> Reg:
    """A scalar of which nothing is known."""
    return Reg(SCALAR, UNKNOWN, origin)


def number(value: int, origin: int) -> Reg:
    """A known scalar."""
    return Reg(SCALAR, const(value), origin)


# What a byte of the stack holds.
S_INVALID, S_SPILL, S_MISC, S_ZERO, S_DYNPTR, S_ITER, S_IRQ = range(7)


class Slot:
    """Eight bytes of stack: `types` of each byte, highest address first; `reg` is what was spilled there."""

    __slots__ = ("reg", "types")

    def __init__(self, types: bytes, reg: Reg | None = None) -> None:
        self.types = types
        self.reg = reg


INVALID8 = bytes([S_INVALID]) * 8
SPILL8 = bytes([S_SPILL]) * 8
MISC8 = bytes([S_MISC]) * 8
ZERO8 = bytes([S_ZERO]) * 8
MISC_SLOT = Slot(MISC8)
ZERO_SLOT = Slot(ZERO8)


def is_spill(slot: Slot | None) -> bool:
    """Whether a whole or part register lies in the slot (which starts at its lowest address)."""
    return slot is not None and slot.types[7] == S_SPILL


class Frame:
    """One function's registers and stack. `stack` is keyed by slot number: 0 is fp-8, 1 is fp-16 ..."""

    __slots__ = (
        "allocated", "async_callback", "callback", "callsite", "held", "regs", "return_range", "rounds", "stack",
        "subprog",
    )  # fmt: skip

    def __init__(self, subprog: int, callsite: int) -> None:
        self.subprog = subprog
        self.callsite = callsite
        self.regs: list[Reg] = [UNINIT] * 11
        self.stack: dict[int, Slot] = {}
        self.allocated = 0
        self.callback = False
        self.async_callback = False
        self.return_range: tuple[int, int] | None = None
        self.rounds = 0  # how often the callback of the call at hand was entered
        self.held: tuple[Reference, ...] | None = None  # references when a callback was entered

    def copy(self) -> Frame:
        """A frame that can change on its own."""
        new = Frame.__new__(Frame)
        new.subprog = self.subprog
        new.callsite = self.callsite
        new.regs = self.regs.copy()
        new.stack = self.stack.copy()
        new.allocated = self.allocated
        new.callback = self.callback
        new.async_callback = self.async_callback
        new.return_range = self.return_range
        new.held = self.held
        new.rounds = self.rounds
        return new


class History:
    """One executed instruction and the one before it, since the last checkpoint.

    `frame`/`slot` name the stack slot it touched through a pointer or r10 (-1: none), `linked` the registers and
    slots that shared the id of what it compared: ((frame, is slot, number), ...).
    """

    __slots__ = ("before", "frame", "insn", "linked", "slot")

    def __init__(self, insn: int, before: History | None) -> None:
        self.insn = insn
        self.before = before
        self.frame = -1
        self.slot = -1
        self.linked: tuple[tuple[int, bool, int], ...] = ()


Reference = tuple[int, int, str]  # id, instruction that acquired it, kind ("ref", "lock", "irq")


class State:
    """One point of the walk: where, the frames, the references held, and how it came here."""

    __slots__ = (
        "branches",
        "callback_depth",
        "frames",
        "hist",
        "jumps",
        "locks",
        "may_goto",
        "parent",
        "pc",
        "preempt",
        "rcu",
        "refs",
    )

    def __init__(self) -> None:
        self.pc = 0
        self.frames: list[Frame] = []
        self.refs: tuple[Reference, ...] = ()
        self.locks: tuple[tuple[int, object], ...] = ()
        self.rcu = 0
        self.preempt = 0
        self.may_goto = 0
        self.callback_depth = 0
        self.parent: Checkpoint | None = None
        self.hist: History | None = None
        self.jumps = 0
        self.branches = 0

    def copy(self) -> State:
        """A state that can go its own way; registers, slots and history are shared."""
        new = State.__new__(State)
        self.copy_to(new)
        return new

    def copy_to(self, new: State) -> None:
        """Fill `new` with all there is here."""
        new.pc = self.pc
        new.frames = [f.copy() for f in self.frames]
        new.refs = self.refs
        new.locks = self.locks
        new.rcu = self.rcu
        new.preempt = self.preempt
        new.may_goto = self.may_goto
        new.callback_depth = self.callback_depth
        new.parent = self.parent
        new.hist = self.hist
        new.jumps = self.jumps
        new.branches = self.branches


class Checkpoint(State):
    """A state kept for pruning, with the marks of which scalars mattered behind it.

    `precise_regs[frame]` is a set of bits of registers, `precise_slots[frame]` one of stack slots.
    """

    __slots__ = (
        "all_precise", "back", "depth", "hits", "loop_entry", "misses", "precise_regs", "precise_slots", "waiting",
        "walked",
    )  # fmt: skip

    def __init__(self, state: State) -> None:
        state.copy_to(self)
        self.branches = 0
        count = len(self.frames)
        self.precise_regs = [0] * count
        self.precise_slots = [0] * count
        self.all_precise = False  # so are then those before it
        self.hits = 0
        self.misses = 0
        self.walked = 0  # instructions walked so far
        self.waiting = 0  # branches pending
        self.loop_entry: Checkpoint | None = None  # a loop this state is in and that was not yet explored
        # Paths that ended at a state within this loop: that state, then the path's history, parent and end.
        self.back: list[tuple[Checkpoint, History | None, Checkpoint | None, int]] = []
        self.depth: int = self.parent.depth + 1 if self.parent is not None else 0


def each_reg(state: State, change: Change) -> None:
    """Replace every register and spilled register by what `change` gives for it (itself: no change)."""
    for frame in state.frames:
        regs = frame.regs
        for n in range(10):
            old = regs[n]
            if old.kind:
                new = change(old)
                if new is not old:
                    regs[n] = new
        for spi, slot in frame.stack.items():
            if slot.reg is not None and slot.types[7] == S_SPILL:
                made = change(slot.reg)
                if made is not slot.reg:
                    frame.stack[spi] = Slot(slot.types, made)


if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[Reg], Reg]
