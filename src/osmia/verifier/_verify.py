"""The whole of a verification: structure, walk, stack; and programs of objects made ready for it."""

from __future__ import annotations

from ..isa import op
from ..isa.map_types import ARENA, ARRAY
from ..objects import version_code
from . import _structure, _subprog, _walk
from ._call import argument_count
from ._env import EINVAL, EPERM, SLEEPABLE, Env
from ._explain import explain
from ._log import Log
from ._profile import profile as choose_profile
from ._prototypes import any_proto
from ._state import CTX, STACK, History, Reg
from ._structure import Code
from ._types import Program, Refused, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..btf import Btf
    from ..isa import Instruction
    from ..objects import Object, ProgramSpec
    from ._profile import Profile
    from ._state import State
    from ._types import MapInfo

ESRCH, E2BIG = 3, 7
TRACE_LIMIT = 10_000
_UNPRIVILEGED = (1, 8)  # socket_filter, cgroup_skb
_BY_TYPES = (26, 27, 29)  # tracing, struct_ops, lsm: the kernel's types say what their context is
_MAY_SLEEP = (2, 26, 27, 29, 31)  # kprobe (uprobes), tracing, struct_ops, lsm, syscall
NEWEST_ENCODING = (6, 15)
SAME_WORDS = (6, 13)
ASYNC_CALLBACK = "timer_set_callback"


def verify(
    program: Program, profile: Profile | None = None, *, level: int = 0, privileged: bool = True, cpus: int = 0
) -> Verdict:
    """What a kernel of that profile (None: the newest) says of the program.

    `level` 1 makes a log of every instruction walked. `cpus` is how many the kernel has (0: as many as this machine),
    which bounds the CPU number that a program may get. Never raises for a bad program: the verdict tells.
    """
    from ..syscalls import possible_cpus

    chosen = profile or choose_profile(None)
    if not privileged:
        chosen = chosen.unprivileged()
    privileged = chosen.privileged
    if any(info.version_at >= 0 for info in program.maps):
        program = program.replace(maps=tuple([_at_version(info, chosen.version) for info in program.maps]))
    log = Log(level, program)
    env: Env | None = None
    try:
        code = Code(_structure.read(program.insns))
        env = Env(program, code, chosen, log, privileged)
        env.cpus = cpus or possible_cpus()
        _structure_checks(env)
        with _without_collector():
            _walk_all(env)
        depths = _subprog.check_stack(env)
    except Refused as e:
        return _refusal(e, env, log, program, chosen)
    finally:
        if env is not None:
            env.close()
    _closing(env, log)
    return Verdict(True, log=log.text(), processed=env.processed, stack_depths=depths)


class _without_collector:
    """A walk makes millions of objects and hardly a cycle: looking for cycles takes longer than the walk."""

    def __enter__(self) -> None:
        import gc

        self._was = gc.isenabled()
        gc.disable()

    def __exit__(self, *_exc: object) -> None:
        if self._was:
            import gc

            gc.enable()


def _at_version(info: MapInfo, version: tuple[int, int]) -> MapInfo:
    """The map with this version as its LINUX_KERNEL_VERSION, if it has one."""
    if info.frozen is None or info.version_at < 0:
        return info
    at, number = info.version_at, version_code((*version, 0))
    return info.replace(frozen=info.frozen[:at] + number.to_bytes(4, "little") + info.frozen[at + 4 :])


def _structure_checks(env: Env) -> None:
    code, program, profile = env.code, env.program, env.profile
    if len(code.insns) > profile.insn_limit:
        raise Refused(f"program of {len(code.insns)} instructions: at most {profile.insn_limit}", 0, E2BIG)
    if not profile.privileged and program.type not in _UNPRIVILEGED:
        raise Refused("operation not permitted: only socket filters and cgroup_skb load without privileges", -1, EPERM)
    if program.flags & SLEEPABLE and program.type not in _MAY_SLEEP:
        raise Refused("Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable", 0)
    _structure.find_functions(code, program)
    env.depths = [0] * len(code.start)
    if len(code.start) > 1 and not profile.has("bpf_calls"):
        raise Refused("function calls to other bpf functions are allowed since 4.16", 0)
    _structure.check_functions(code)
    if not program.btf:
        _check_abnormal_returns(code)
    _structure.check_loads(code, _map_check(program), _unknown_to(profile))
    _structure.walk_graph(code, _callback_kind(program, profile), loops=profile.bounded_loops)
    _structure.find_live_registers(code, lambda insn: argument_count(env, insn))
    _find_target(env)
    env.globals = {code.subprog_at[s.start] for s in program.subprograms if s.is_global and s.start}


def _find_target(env: Env) -> None:
    """What a tracing, LSM or struct_ops program attaches to: its arguments are the context."""
    program = env.program
    if program.type not in _BY_TYPES or not program.attach_to:
        return
    from ._context_btf import arguments
    from ._struct import kernel_types

    types = kernel_types(env)
    if types is None:
        return
    env.arguments = arguments(types, program.type, program.attach_type, program.attach_to, env.profile)
    if env.arguments is None:
        from ._hooks import in_a_module

        if program.kernel is None and in_a_module(program):
            return  # its arguments are taken for numbers
        whose = "the kernel's types" if program.kernel is not None else "the types of this machine's kernel"
        raise Refused(f"attach target {program.attach_to} is not in {whose}", -1, ESRCH)
    from ._hooks import check_target

    check_target(env, types)


def _check_abnormal_returns(code: Code) -> None:
    for n in range(1, len(code.start)):
        for at in range(code.start[n], code.end[n]):
            insn = code.insns[at]
            if insn.opcode & op.CLASS_MASK == op.LD and insn.opcode & op.MODE_MASK in (op.ABS, op.IND):
                raise Refused("LD_ABS is not allowed in subprogs without BTF", at)
        if code.has_tail_call[n]:
            raise Refused("tail_call is not allowed in subprogs without BTF", code.start[n])


def _map_check(program: Program) -> Callable[[Instruction, Instruction, int], None]:
    def check(insn: Instruction, second: Instruction, at: int) -> None:
        src = insn.src
        if src == op.PSEUDO_BTF_ID or src == op.PSEUDO_FUNC:
            return
        by_value = src in (op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX_VALUE)
        if src > op.PSEUDO_MAP_IDX_VALUE or (not by_value and second.imm):
            raise Refused("unrecognized bpf_ld_imm64 insn", at)
        if not 0 <= insn.imm < len(program.maps):
            raise Refused(f"fd {insn.imm} is not pointing to valid bpf_map", at)
        if by_value:
            _check_value_address(program.maps[insn.imm], second.imm & 0xFFFFFFFF, at)

    return check


def _unknown_to(profile: Profile) -> Callable[[Instruction], str] | None:
    if profile.version >= NEWEST_ENCODING:
        return None
    from ._encodings import unknown

    return lambda insn: unknown(insn, profile)


def _check_value_address(info: MapInfo, off: int, at: int) -> None:
    if off >= 1 << 29:
        raise Refused(f"direct value offset of {off} is not allowed", at)
    if info.type == ARENA:
        return
    if info.type != ARRAY:
        raise Refused("no direct value access support for this map type", at)
    if info.max_entries != 1 or off >= info.value_size:
        raise Refused(f"invalid access to map value pointer, value_size={info.value_size} off={off}", at)


def _callback_kind(program: Program, profile: Profile) -> Callable[[Instruction], str]:
    synchronous = "sync" if profile.has("callback_rounds") else "once"

    def kind(insn: Instruction) -> str:
        if insn.src == op.PSEUDO_KFUNC_CALL:
            from ._kfunc import callback_kind

            return callback_kind(program, insn)
        if insn.src:
            return ""
        found = any_proto(insn.imm) if insn.imm > 0 else None
        if found is None or not found.callback:
            return ""
        return "async" if found.name == ASYNC_CALLBACK else synchronous

    return kind


def _walk_all(env: Env) -> None:
    state = _walk.start(env, 0)
    regs = state.frames[0].regs
    regs[1] = Reg(CTX)
    regs[10] = Reg(STACK)
    _walk.walk(env, state)
    for subprog in sorted(env.globals):
        from ._global import entry

        state = _walk.start(env, subprog)
        entry(env, state, subprog)
        _walk.walk(env, state)


def _refusal(refused: Refused, env: Env | None, log: Log, program: Program, profile: Profile) -> Verdict:
    message = _in_its_words(refused.message, env, log)
    trace: tuple[tuple[int, int], ...] = ()
    registers: tuple[Reg, ...] = ()
    held: list[int] = []
    processed = 0
    if env is not None:
        processed = env.processed
        if hasattr(env, "state"):
            trace = path(env.state)
            registers = tuple(env.regs)
            held = [insn for _, insn, kind in env.state.refs if kind == "ref"]
        _closing(env, log)
    explained = explain(program, profile, refused.message, refused.insn, trace, registers, held)
    return Verdict(
        False,
        refused.errno or EINVAL,
        message,
        log.text(),
        refused.insn,
        processed,
        explanation=explained.replace(message=message),
        trace=trace,
        registers=registers,
    )


def _in_its_words(message: str, env: Env | None, log: Log) -> str:
    """The log's last line as the kernel at hand writes it."""
    before = log.lines[-1] if log.lines else ""
    if env is not None and env.profile.version < SAME_WORDS:
        from ._words import as_said

        message = as_said(message, env.profile.version, before)
    if message != before:
        log.say(message)
    return message


def _closing(env: Env, log: Log) -> None:
    if env.processed:
        states = sum(len(v) for v in env.explored.values())
        log.say(f"processed {env.processed} insns (limit {env.limit}) states {states}")


def path(state: State) -> tuple[tuple[int, int], ...]:
    """The path that led to a state as (instruction, next instruction), oldest first; at most 10,000 steps."""
    out: list[tuple[int, int]] = []
    after = -1
    hist: History | None = state.hist
    parent = state.parent
    while len(out) < TRACE_LIMIT:
        while hist is not None and len(out) < TRACE_LIMIT:
            out.append((hist.insn, after))
            after = hist.insn
            hist = hist.before
        if parent is None:
            break
        hist, parent = parent.hist, parent.parent
    return tuple(reversed(out))


def from_spec(obj: Object, spec: ProgramSpec, kernel: Btf | None = None) -> Program:
    """A program of an object as `verify` takes it: linked, maps by their index, CO-RE relocations resolved in `kernel`
    (None: this machine's, when something needs it). ObjectError when that fails, NotSupported without such types."""
    from ._from_spec import convert

    return convert(obj, spec, kernel)
