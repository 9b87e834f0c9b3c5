"""What a walk carries around: the program, the state at hand, the pending branches, counters."""

from __future__ import annotations

from ._liveness import StackLiveness
from ._rules import rules
from ._state import SCALAR, UNINIT, Reg
from ._types import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..btf import Btf
    from ..isa import Instruction
    from ._context_btf import Arguments
    from ._liveness import Instance
    from ._log import Log
    from ._profile import Profile
    from ._prototypes import Proto
    from ._state import Checkpoint, Frame, State
    from ._structure import Code
    from ._types import Program

EINVAL, EACCES, E2BIG, ENOENT, EFAULT, EPERM = 22, 13, 7, 2, 14, 1
PENDING_LIMIT = 8192  # BPF_COMPLEXITY_LIMIT_JMP_SEQ
MAX_FRAMES = 8
SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE
SYSCALL = 31  # BPF_PROG_TYPE_SYSCALL: always sleepable


class Env:
    """One verification under way. `state` is the path at hand, `pc` its instruction."""

    def __init__(self, program: Program, code: Code, profile: Profile, log: Log | None, privileged: bool) -> None:
        self.program = program
        self.code = code
        self.insns: list[Instruction] = code.insns
        self.profile = profile
        self.log = log
        self.privileged = privileged
        # Stack that was never written may be read (6715df8d5d24, 6.3).
        self.uninit_stack = privileged and profile.has("uninit_stack_reads")
        self.old_encodings = profile.version < (6, 15)
        self.rules = rules(profile)
        self.old_spills = profile.version < (6, 9)
        self.helpers_write = profile.version < (6, 14)
        self.variable_stack = profile.has("variable_stack_access")
        self.immediate_spills = profile.has("immediate_spills")
        # Pruning: references by their identity (before 6.3), scalars by theirs (6.5), loops by what is precise (until
        # 6.6).
        self.exact_refs = profile.version < (6, 3)
        self.scalar_ids = profile.version >= (6, 5)
        self.loop_level = 0 if profile.version < (6, 7) else 1  # NOT_EXACT, EXACT
        self.links_narrow_moves = profile.version >= (6, 5)
        self.links_offsets = profile.has("linked_offsets")
        self.state: State
        self.frame: Frame
        self.regs: list[Reg] = []
        self.pc = 0
        self.pending: list[State] = []
        self.explored: dict[int, list[Checkpoint]] = {}
        self.processed = 0
        self.limit = profile.complexity_limit
        self.jumps = 0
        self.next_look: dict[int, int] = {}
        self.jumps_at_checkpoint = 0
        self.processed_at_checkpoint = 0
        self.ids = 0
        self.depths = [0] * len(code.start)
        self.liveness = StackLiveness(code)
        self.instance: Instance
        self.checked = bytearray(len(code.insns))
        self.globals: set[int] = set()
        self.types: Btf | None = None
        self.types_loaded = False
        self.arguments: Arguments | None = None
        self.async_callbacks: set[int] = set()
        self.protos: dict[int, Proto] = {}
        self.changes_packet = [False] * len(code.start)
        self.may_sleep = bool(program.flags & SLEEPABLE) or program.type == SYSCALL
        self.cpus = 1 << 13
        self.backward: list[tuple[int, int, int]] | None = None  # instructions as backtracking sees them
        self.iterates = any(name.startswith("bpf_iter_") for _, name in program.kfuncs)
        self.subprog = 0
        self.access_kinds: dict[int, tuple[int, int]] = {}

    def close(self) -> None:
        """Let go of the kernel's types."""
        if self.types is not None:
            self.types.close()
            self.types = None

    def refuse(self, message: str, errno: int = EINVAL) -> NoReturn:
        """The kernel would stop here with these words."""
        raise Refused(message, self.pc, errno)

    def new_id(self) -> int:
        """An identity no other register has."""
        self.ids += 1
        return self.ids

    def identified(self, reg: Reg) -> Reg:
        """A number about to be copied, with an identity that its copies share; constants need none."""
        if reg.kind != SCALAR or (reg.id and not reg.linked):
            return reg
        if reg.var.mask:
            return Reg(SCALAR, reg.var, reg.origin, 0, self.new_id())
        return Reg(SCALAR, reg.var, reg.origin) if reg.linked else reg

    def enter(self, state: State) -> None:
        """Make `state` the one at hand."""
        self.state = state
        self.refresh()

    def refresh(self) -> None:
        """To be called when the innermost frame of the state is another one."""
        frame = self.state.frames[-1]
        self.frame = frame
        self.regs = frame.regs
        self.instance = self.liveness.instance(self.chain())

    def chain(self) -> tuple[int, ...]:
        """Call sites from the outermost frame inwards, then the innermost function's start."""
        frames = self.state.frames
        return (*[f.callsite for f in frames[1:]], self.code.start[frames[-1].subprog])

    def push(self, pc: int) -> State:
        """Keep a copy of the state at hand, to go on from `pc` later; returns the copy."""
        state = self.state
        other = state.copy()
        other.pc = pc
        self.pending.append(other)
        if len(self.pending) > PENDING_LIMIT:
            self.refuse(f"The sequence of {len(self.pending)} jumps is too complex.", E2BIG)
        if state.parent is not None:
            state.parent.branches += 1
        return other

    def after_call(self, state: State, result: Reg) -> None:
        """What a call leaves in r0 to r5 of that state."""
        state.frames[-1].regs[0:6] = [result, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]

    def source(self, number: int) -> Reg:
        """A register that is read."""
        try:
            reg = self.regs[number]
        except IndexError:
            self.refuse(f"R{number} is invalid")
        if not reg.kind:
            self.refuse(f"R{number} !read_ok", EACCES)
        return reg

    def target(self, number: int) -> None:
        """A register that is written."""
        if number == 10:
            self.refuse("frame pointer is read only", EACCES)

    def clobber(self, frame: Frame) -> None:
        """What a call leaves of r0 to r5."""
        frame.regs[0:6] = [UNINIT] * 6


def stack_access(env: Env, frame: int, slot: int) -> None:
    """Note in the history that this instruction touched a slot: precision is tracked through it."""
    hist = env.state.hist
    if hist is not None:
        if hist.slot < 0 and not env.code.jump[env.pc]:
            env.state.jumps += 1
        hist.frame = frame
        hist.slot = slot
