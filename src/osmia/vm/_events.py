"""Events that a test or a script of yours makes happen: `loaded.fire("tracepoint:syscalls:sys_enter_openat", ...)`.

What a program finds is what the kernel would show it: the record of a tracepoint, registers and a stack of a function's
caller, arguments of a raw tracepoint; the task, the CPU and the clock of the machine's world.
"""

from __future__ import annotations

from ..errors import BtfError, UsageError
from ._attach import LAST_FIRST, VmHook
from ._context_layouts import LAYOUTS
from ._events_memory import MASK, EventMemory
from ._helpers_timer import run_due
from ._sources import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..probes import ProbeSpec
    from ._loaded import LoadedVm

    Arguments = Mapping[str, object] | Sequence[object]

_STACK = 4096
_MOST_ARGUMENTS = 64
_ARGUMENTS = {"x86_64": ("rdi", "rsi", "rdx", "rcx", "r8", "r9"), "aarch64": tuple(f"x{i}" for i in range(8))}
_NAMES = {"x86_64": ("rip", "rsp", "rax"), "aarch64": ("pc", "sp", "x0")}
_TIMERS = ("interval", "profile")
_FUNCTIONS = ("kprobe", "kretprobe", "fentry", "fexit", "uprobe", "uretprobe")
_KERNEL_TEXT, _USER_TEXT, _FUNCTION = 0xFFFF_FFFF_8100_0000, 0x40_0000, 0x1000
_PACKETS = ("xdp", "tc", "tcx", "socket_filter", "socket", "cgroup", "cgroup_skb", "sockops", "sk_lookup")
_RUN = "programs that get them are run: vm.run(packet), vm.run(context={...})"
# Where there is a return value.
_RETURNS = ("kretprobe", "uretprobe", "kretsyscall", "fexit", "fmod_ret", "lsm")
_NO_ARGUMENTS = ("interval", "profile", "software", "hardware", "watchpoint", "asyncwatchpoint")
_REGISTERS = (
    "kprobe", "kretprobe", "uprobe", "uretprobe", "usdt", "ksyscall", "kretsyscall", "interval", "profile", "software",
    "hardware", "watchpoint", "asyncwatchpoint",
)  # fmt: skip


class Events:
    """Fires events at what is attached to a loaded object."""

    def __init__(self, loaded: LoadedVm) -> None:
        self.loaded = loaded
        self.memory = EventMemory(loaded.machine)
        self._due: dict[int, int] = {}
        self._addresses: dict[tuple[str, bool], int] = {}
        self._names: dict[int, str] = {}

    # Addresses of functions

    def symbol(self, name: str, user: bool = False) -> int:
        """The address that a function has here: made up when first asked for, and the same in each run."""
        found = self._addresses.get((name, user))
        if found is None:
            found = (_USER_TEXT if user else _KERNEL_TEXT) + _FUNCTION * len(self._addresses)
            self._addresses[name, user] = found
            self._names[found] = name
        return found

    def name_of(self, address: int) -> tuple[str, int]:
        """The function that an address of `symbol` is in, and the distance from its start; ("", 0) for others."""
        start = address - address % _FUNCTION
        name = self._names.get(start, "")
        return (name, address - start) if name else ("", 0)

    def _stack(self, frames: Sequence[str | int] | None, user: bool) -> list[int] | None:
        """Addresses of frames given by name ("main", "main+16") or number."""
        if frames is None:
            return None
        if not isinstance(frames, (list, tuple)):
            raise UsageError(f"fire event: a stack of {type(frames).__name__}", hint='give a list: ["main", "main+16"]')
        out = []
        for frame in frames:
            if isinstance(frame, int):
                out.append(frame)
                continue
            name, _, offset = frame.partition("+") if isinstance(frame, str) else ("", "", "")
            try:
                if not name:
                    raise ValueError
                out.append(self.symbol(name, user) + int(offset or "0", 0))
            except ValueError:
                raise UsageError(
                    f"fire event: {frame!r} is no frame of a stack", hint='a name, "main+16", or an address'
                ) from None
        return out

    # Which programs

    def hooks(self, probe: str) -> list[tuple[VmHook, str | int]]:
        """The hooks at a probe as scripts spell it, in the order in which they run; each with its place there."""
        from ..probes import parse_probe

        if probe.partition(":")[0] in _PACKETS:
            raise UsageError(f"fire {probe}: packets and sockets are no events", hint=_RUN)
        spec = parse_probe(probe, unsafe=True)
        found = [(hook, at) for hook in self.loaded.attached for at in _places(hook, spec, probe)]
        if not found:
            names = sorted({hook.point.name for hook in self.loaded.attached if hook.point.provider not in _PACKETS})
            raise UsageError(
                f"fire {probe}: no program is attached there",
                hint=f"attached: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else _RUN,
            )
        return found[::-1] if spec.provider in LAST_FIRST else found

    # Firing

    def fire(
        self,
        probe: str,
        args: Arguments = (),
        *,
        ret: object = None,
        regs: Mapping[str, int] | None = None,
        record: bytes | None = None,
        address: int = 0,
        task: Task | None = None,
        kstack: Sequence[str | int] | None = None,
        ustack: Sequence[str | int] | None = None,
    ) -> int:
        """Run every program that is attached to `probe`; the last one's return value.

        `args` of a tracepoint are its fields by name; of functions, USDT and raw tracepoints their arguments in order
        (or by name, where the kernel's types tell the order). Texts, bytes and lists become pointers to them. `ret` is
        what a function returns. `regs` sets registers by name, `record` replaces the whole context. `kstack` and
        `ustack` are the frames of the stacks, innermost first, by name or address.
        Raises what the program did wrong.
        """
        result = 0
        data = self.loaded.machine.data
        stacks = {True: self._stack(ustack, True), False: self._stack(kstack, False)}
        before, data["stack"] = data.get("stack"), stacks.__getitem__
        try:
            for hook, at in self.hooks(probe):
                where = address or self._address(hook, at)
                context = self.context(hook, at, args, ret, regs, where, task) if record is None else record
                result = self.loaded.fire_hook(hook, context, task, where, at)
                self.loaded.check()
        finally:
            data["stack"] = before
        return result

    def _address(self, hook: VmHook, at: str | int) -> int:
        """The address of the function that a probe is on, 0 for other probes."""
        point = hook.point
        if point.provider not in _FUNCTIONS:
            return 0
        user = point.provider in ("uprobe", "uretprobe")
        name = point.functions[point.offsets.index(at)] if isinstance(at, int) and point.functions else at
        name = name or point.function
        return self.symbol(str(name), user) if name else 0

    def context(
        self,
        hook: VmHook,
        at: str | int,
        args: Arguments,
        ret: object,
        regs: Mapping[str, int] | None,
        address: int,
        task: Task | None,
    ) -> bytes:
        """What r1 is to point to."""
        point = hook.point
        provider = point.provider
        if ret is not None and provider not in _RETURNS:
            raise UsageError(
                f"fire {point.name}: a {provider} has no return value",
                hint="it is a field: args={'ret': ...}" if "_exit_" in point.function else "leave ret out",
            )
        if args and provider in _NO_ARGUMENTS:
            raise UsageError(
                f"fire {point.name}: {provider} events have no arguments", hint="regs={...} sets registers"
            )
        if regs and provider not in _REGISTERS:
            raise UsageError(f"fire {point.name}: a {provider} has no registers", hint="leave regs out")
        if provider == "tracepoint":
            from ._events_record import make_record

            if not isinstance(args, dict):
                if args:
                    raise UsageError(f"fire {point.name}: its arguments have names", hint='args={"field": value}')
                args = {}
            pid = task.pid if task is not None else self.loaded.machine.world.pid
            return make_record(point.target, point.function, args, self.memory, pid=pid)
        function = at if isinstance(at, str) and at else point.function
        values = [self.memory.value(value, name) for name, value in self._ordered(args, provider, function)]
        returned = self.memory.value(ret, "ret") if ret is not None else None
        if provider in ("rawtracepoint", "fentry", "fexit", "fmod_ret", "lsm"):
            return self._words(provider, function, values, returned)
        if provider in _REGISTERS:
            return self._registers(hook, values, returned, regs or {}, address)
        raise UsageError(f"fire {point.name}: {provider} programs are not fired", hint="give record=, their context")

    def _ordered(self, args: Arguments, provider: str, function: str) -> list[tuple[str, object]]:
        """Names and values of arguments in their order."""
        if not isinstance(args, (dict, list, tuple)):
            hint = f"give a list: [{args!r}]" if isinstance(args, (str, bytes, int)) else "give a list, or a dict"
            raise UsageError(f"fire {provider}:{function}: its arguments are {type(args).__name__}", hint=hint)
        if not isinstance(args, dict):
            return [(f"arg{i}", value) for i, value in enumerate(args)]
        names = [str(name) for name in args]
        if all(n.startswith("arg") and n[3:].isascii() and n[3:].isdigit() for n in names):
            last = max((int(n[3:]) for n in names), default=-1)
            if last >= _MOST_ARGUMENTS:
                raise UsageError(f"fire {provider}:{function}: arg{last} is beyond what a function has")
            return [(f"arg{i}", args.get(f"arg{i}", 0)) for i in range(last + 1)]
        params = _parameters(function, provider)
        if params is None:
            raise UsageError(
                f"fire {provider}:{function}: nobody says in which order {', '.join(names)} come",
                hint="give a list, or arg0, arg1, ...",
            )
        wrong = next((name for name in names if name not in params), None)
        if wrong is not None:
            from ..probes import closest

            near = closest(wrong, params)
            raise UsageError(
                f"fire {provider}:{function}: it has no argument {wrong!r}",
                hint=f"did you mean {near[0]}?" if near else f"it has {', '.join(params) or 'none'}",
            )
        return [(name, args.get(name, 0)) for name in params]

    def _words(self, provider: str, function: str, values: list[int], returned: int | None) -> bytes:
        """Arguments as u64; the return value stands behind all of the function's parameters."""
        count = len(values)
        data = self.loaded.machine.data
        if provider in ("fentry", "fexit", "fmod_ret"):
            params = _parameters(function, provider)
            count = len(params) if params is not None else count
            data["func_args"], data["func_ret"] = count, returned or 0
        words = (values + [0] * 12)[: max(count, len(values))]
        if provider in ("fexit", "lsm", "fmod_ret"):
            words = [*words[:count], returned or 0]
        return b"".join(word.to_bytes(8, "little") for word in words).ljust(96, b"\0")

    def _registers(
        self, hook: VmHook, values: list[int], returned: int | None, given: Mapping[str, int], address: int
    ) -> bytes:
        from ..syscalls import MACHINE

        point = hook.point
        registers = _ARGUMENTS.get(MACHINE, _ARGUMENTS["x86_64"])
        pc, sp, result = _NAMES.get(MACHINE, _NAMES["x86_64"])
        stack = bytearray(_STACK)
        middle = _STACK // 2
        regs = {pc: address} if address else {}
        if point.provider == "usdt":
            regs.update(self._usdt(hook, values, stack))
        else:
            regs.update(zip(registers, values))
            for i, value in enumerate(values[len(registers) :]):  # behind the return address, where there is one
                at = middle + 8 * i + (8 if MACHINE == "x86_64" else 0)
                stack[at : at + 8] = value.to_bytes(8, "little")
            if returned is not None:
                regs[result] = returned
        if values or given:
            regs.setdefault(sp, self.memory.place(bytes(stack), "stack") + middle)
        regs.update(given)
        layout, size = LAYOUTS["perf_event" if hook.program.type == 7 else "kprobe"]
        out = bytearray(size)
        if hook.program.type == 7:
            regs.setdefault("sample_period", point.period)
        for name, value in regs.items():
            if name not in layout:
                raise UsageError(f"fire {point.name}: no register {name!r}", hint=f"one of {', '.join(layout)}")
            at, width, _ = layout[name]
            if not isinstance(value, int) or not -1 << 8 * width - 1 <= value < 1 << 8 * width:
                raise UsageError(f"fire {point.name}: {value!r} is no number of {8 * width} bits for register {name}")
            out[at : at + width] = (value & MASK).to_bytes(width, "little")
        return bytes(out)

    def _usdt(self, hook: VmHook, values: list[int], stack: bytearray) -> dict[str, int]:
        """Registers (and words of the stack) that make the probe's arguments what they are to be."""
        from ..elf import open_elf

        point = hook.point
        with open_elf(point.target) as file:
            probes = [p for p in file.usdt_probes() if p.offset == point.offset]
            where = probes[0].arguments() if probes else ()
        if len(values) > len(where):
            raise UsageError(f"fire {point.name}: {len(values)} arguments, the probe has {len(where)}")
        regs: dict[str, int] = {}
        base = self.memory.place(bytes(stack), "stack")
        middle = base + _STACK // 2
        for value, arg in zip(values, where):
            size = abs(arg.size) or 8
            if not 0 <= value < 1 << 8 * size and value < (1 << 64) - (1 << 8 * size - 1):
                raise UsageError(f"fire {point.name}: {value} does not fit the argument's {8 * size} bits")
            value &= (1 << 8 * size) - 1
            if arg.kind == "reg":
                regs[arg.register] = regs.get(arg.register, 0) | value << arg.shift
            elif arg.kind == "mem" and not arg.symbol and abs(arg.offset) <= _STACK // 2 - 8:
                regs[arg.register] = middle
                data = (value & (1 << 8 * arg.size) - 1).to_bytes(arg.size, "little")
                self.loaded.machine.write(middle + arg.offset, data)
        return regs

    # Time

    def advance(self, seconds: float, on: Callable[[], bool] = lambda: True) -> int:
        """Move the clock; intervals, profiles and timers of programs fire when they are due. How many did.

        `on` is asked after each whether to go on.
        """
        if seconds < 0:
            raise UsageError(f"advance the clock: {seconds} seconds would turn it back", hint="give 0 or more")
        machine = self.loaded.machine
        world = machine.world
        if world.clock is None:
            world.advance(0)
        end = world.monotonic() + round(seconds * 1_000_000_000)
        fired = 0
        while True:
            found = self._next_timer(end)
            if found is None:
                break
            due, hook = found
            with self.loaded.lock:
                fired += run_due(machine, due)
                world.clock = due
            hook.fire(bytes(184))
            self.loaded.check()
            fired += 1
            self._due[id(hook)] = due + _period(hook)
            if not on():
                return fired
        with self.loaded.lock:
            fired += run_due(machine, end)
            world.clock = end
        return fired

    def _next_timer(self, end: int) -> tuple[int, VmHook] | None:
        start = self.loaded.started_at
        best: tuple[int, VmHook] | None = None
        for hook in self.loaded.attached:
            if hook.point.provider in _TIMERS and _period(hook):
                due = self._due.setdefault(id(hook), start + _period(hook))
                if due <= end and (best is None or due < best[0]):
                    best = due, hook
        return best


def _period(hook: VmHook) -> int:
    point = hook.point
    return point.period or (1_000_000_000 // point.frequency if point.frequency else 0)


def _places(hook: VmHook, spec: ProbeSpec, text: str) -> list[str | int]:
    """Where in the hook's attach point the probe is: empty when nowhere, [""] for a point that is one place."""
    point = hook.point
    if point.provider != spec.provider:
        return []
    if text == point.name or spec.name == point.name:
        several: list[str | int] = [*(point.offsets or point.functions)]
        if not several or spec.is_pattern or spec.function not in point.functions:
            return several or [""]
    if spec.provider in _TIMERS:
        same = (spec.period, spec.frequency) == (point.period, point.frequency)
        return [""] if same else []
    if spec.target and point.target and not _same_target(spec.target, point.target):
        return []
    if spec.provider == "usdt":
        wanted = f"{spec.namespace}:{spec.function}" if spec.namespace else spec.function
        return [""] if point.function == wanted or point.function.endswith(":" + wanted) else []
    if not spec.function:
        return [""] if spec.address is not None and spec.address in (point.address, point.offset) else []
    if spec.function in point.functions:
        at = point.functions.index(spec.function)
        return [point.offsets[at] if point.offsets else spec.function]
    return [""] if spec.function == point.function else []


def _same_target(wanted: str, target: str) -> bool:
    """Whether a file or module is meant: a path, or what it is called without its folder and version."""
    if wanted == target:
        return True
    name = target.rsplit("/", 1)[-1]
    return wanted in (name, name.partition(".so")[0])


def _parameters(function: str, provider: str = "kprobe") -> list[str] | None:
    """Names of a kernel function's parameters, or of a tracepoint's; None where nobody knows them."""
    if provider not in ("kprobe", "kretprobe", "fentry", "fexit", "fmod_ret", "lsm", "rawtracepoint"):
        return None
    from ..btf import load_kernel_btf

    try:
        btf = load_kernel_btf()
    except (BtfError, OSError):
        return None
    try:
        if provider == "rawtracepoint":  # what calls the programs has the tracepoint's arguments, behind its own
            params = btf.func_params(f"__traceiter_{function}")
            params = params and params[1:]
        else:
            params = btf.func_params(function)
    finally:
        btf.close()
    return None if params is None else [p.name for p in params]
