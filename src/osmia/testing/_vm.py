"""A program under test."""

from __future__ import annotations

import os

from .._data import Data
from ..errors import NotSupported, UsageError, did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
    from typing import Any, Self

    from ..objects import Object
    from ..session import Event, MapView, Pointer
    from ..verifier import Verdict
    from ..vm import Coverage, LoadedVm, Machine, PacketResult, Task, VmProgram, World
    from ..vm.types import Arguments, Helper
    from ._struct import Structs

SECOND = 1_000_000_000
# Called with each Vm before it is closed.
collectors: list[Callable[[Vm], None]] = []
# Instructions of one run: the interpreter takes two seconds for them.
FUEL = 3_000_000


class Verification(Data):
    """What a kernel would say: true when it accepts every program. `verdicts` are by program."""

    kernel: str
    verdicts: dict[str, Verdict]

    @property
    def accepted(self) -> bool:
        """Whether every program would load."""
        return all(verdict.accepted for verdict in self.verdicts.values())

    def __bool__(self) -> bool:
        return self.accepted

    @property
    def message(self) -> str:
        """What is wrong with the first program that is refused, in a line; "" when none is."""
        for name, verdict in self.verdicts.items():
            if not verdict.accepted:
                found = verdict.explanation
                if found is None:
                    return f"{name}: {verdict.message}"
                where = f"{found.place.file}:{found.place.line}: " if found.place.line else ""
                reason = f"{found.reason}: " if found.reason and found.reason != verdict.message else ""
                return f"{name}: {where}{reason}{verdict.message}"
        return ""

    def __str__(self) -> str:
        """All refusals, explained as `osmia verify` does."""
        found = {name: v.explanation for name, v in self.verdicts.items() if not v.accepted}
        texts = [f"{name}: {e.render() if e else self.verdicts[name].message}" for name, e in found.items()]
        return "\n".join(texts) or repr(self)

    def __repr__(self) -> str:
        if self.accepted:
            return f"<{self.kernel}: would load {', '.join(self.verdicts)}>"
        return f"<{self.kernel}: would not load {self.message}>"


class Vm:
    """A script or an object, loaded in user space and started; a context manager.

    `source` is a script's text, the path (`pathlib.Path`) of a script, of a BPF object or of a C file (for which
    `clang` has to be in $PATH), or an `Object`. `params` are `$1`, `$2`, ...; `options` answers `getopt()`.

    Nothing of the machine shows: the clock starts at one second after boot and stands still until `advance`, random
    numbers come from `seed`, and programs run as process 1000, "test", of user 1000, on CPU 0 of `cpus`.

    Of an object or a C file: `globals` sets variables before it is loaded, such as `const volatile` ones, and
    `programs` names those to load, where user space cannot run all of them.

    `helpers` replaces helpers: {"get_prandom_u32": 7}, or functions (machine, r1, ..., r5) -> int. `engine` is
    "interpreter", which counts `coverage`, or "jit". A program that the verifier refuses raises VerifierError, unless
    `checked` is True: then it runs with every access bounded. `unsafe` allows `system()` and its like. A run of more
    than `fuel` instructions is an endless loop: VmFault (native code counts only where it is `checked`).
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Object,
        *,
        params: Sequence[str | int] = (),
        options: Mapping[str, str | int] | None = None,
        globals: Mapping[str, object] | None = None,
        programs: Iterable[str] | None = None,
        helpers: Mapping[str | int, Helper | int] | None = None,
        engine: str = "interpreter",
        checked: bool | None = None,
        unsafe: bool = False,
        fuel: int = FUEL,
        cpus: int | None = None,
        seed: int = 0,
        cache: bool = True,
    ) -> None:
        from ..objects import derive_formats
        from ..session import Attached, Session
        from ..sinks import TextSink
        from ..syscalls import possible_cpus
        from ..vm import VmTarget
        from ._checks import check_mocks, check_numbers
        from ._source import load_source
        from ._symbols import VmSymbols

        self._attached, self._closed = Attached, False
        cpus = possible_cpus() if cpus is None else cpus
        check_numbers(cpus, seed, fuel)
        self._structs: Structs | None = None
        self._script = source if isinstance(source, str) else None
        self.events: list[Event] = []
        self.warnings: list[str] = []
        self._out: list[str] = []
        self._err: list[str] = []
        self._coverage: Coverage | None = None
        self._text = TextSink(self._out.append, self._err.append, quiet=True)
        obj = load_source(source, params, options, unsafe, cache, globals, programs)
        self.object = obj.replace(map_formats=obj.map_formats + derive_formats(obj, cpus=cpus))
        self.world = _world(cpus, seed)
        target = _Target(VmTarget(world=self.world, helpers=check_mocks(helpers), engine=engine, checked=checked), fuel)
        self._session = Session(
            self.object,
            target,
            sink=self._take,
            unsafe=unsafe,
            keep=True,
            symbols=VmSymbols(target),
            warn=self.warnings.append,
        )
        self._loaded: LoadedVm = target.watch(self._session)
        try:
            if engine == "interpreter":
                self._count()
            if self.object.attach_points:
                self._session.start()
            self._settle()
        except BaseException:
            self._session.close()
            raise

    def _count(self) -> None:
        from ..vm import Coverage

        self._coverage = Coverage()
        for program in self._loaded.programs.values():
            self._coverage.add(program, self._script)

    def _take(self, event: Event) -> None:
        if not isinstance(event, self._attached):  # which no event of the test's made
            self.events.append(event)
        self._text(event)

    def _settle(self) -> None:
        """Handle what programs have sent; a script that called exit() ends."""
        self._session.drain()
        if not self._session.ended and not self._session.poll(0):
            self._session.finish()

    def _open(self, verb: str) -> None:
        if self._closed:
            raise UsageError(f"{verb}: the Vm is closed", hint="do it inside the with block")

    def _running(self, verb: str) -> None:
        self._open(verb)
        if self._session.ended:
            raise UsageError(f"{verb}: the script has ended", hint="it called exit(), or finish() was called")

    # Making things happen

    def fire(
        self,
        probe: str,
        args: Arguments = (),
        *,
        ret: object = None,
        regs: Mapping[str, int] | None = None,
        record: bytes | None = None,
        address: int = 0,
        kstack: Sequence[str | int] | None = None,
        ustack: Sequence[str | int] | None = None,
        pid: int | None = None,
        tid: int | None = None,
        comm: str | bytes | None = None,
        uid: int | None = None,
        gid: int | None = None,
        ppid: int | None = None,
        cpu: int | None = None,
        cgroup: int | None = None,
    ) -> int:
        """Make an event happen: every program attached to `probe` runs; the last one's return value.

        `args` of a tracepoint are its fields by name, of functions and USDT probes their arguments in order; a str,
        bytes or list becomes a pointer to it. `ret` is what a function returns, `regs` sets registers, `record`
        replaces the whole context. `kstack` and `ustack` are the frames of the stacks, innermost first, by name
        ("vfs_read", "main+16") or address; `address` is the function's, otherwise made up. The task is the machine's
        own but for what is given.
        Raises VmFault for what a program did wrong, UsageError where nothing is attached.
        """
        self._running(f"fire {probe}")
        if not isinstance(probe, str):
            raise UsageError(f"fire event: the probe is {type(probe).__name__}", hint="give its name as a str")
        if record is not None and (args or regs or ret is not None):
            given = "args" if args else "regs" if regs else "ret"
            raise UsageError(
                f"fire {probe}: {given} beside record", hint="record is the whole context: put them into it"
            )
        task = self._task(pid, tid, comm, uid, gid, ppid, cpu, cgroup)
        result = self._loaded.events.fire(
            probe, args, ret=ret, regs=regs, record=record, address=address, task=task, kstack=kstack, ustack=ustack
        )
        self._settle()
        return result

    def _task(
        self,
        pid: int | None,
        tid: int | None,
        comm: str | bytes | None,
        uid: int | None,
        gid: int | None,
        ppid: int | None,
        cpu: int | None,
        cgroup: int | None,
    ) -> Task:
        from ..vm import Task

        home = self._loaded.home
        for what, number in {"pid": pid, "tid": tid, "uid": uid, "gid": gid, "ppid": ppid}.items():
            check_number(what, number, 1 << 32)
        check_number("cgroup", cgroup, 1 << 64)
        check_number("cpu", cpu, self.world.cpus, f"the machine has CPUs 0 to {self.world.cpus - 1}: Vm(..., cpus=n)")
        if comm is not None and not isinstance(comm, (str, bytes)):
            raise UsageError(f"fire event: comm is {type(comm).__name__}", hint="give a str")
        name = comm.encode("utf-8", "surrogateescape") if isinstance(comm, str) else comm
        if name is not None and len(name := name.partition(b"\0")[0]) > 15:
            raise UsageError(
                f"fire event: comm {comm!r} has {len(name)} bytes", hint="a process has a name of up to 15"
            )

        def given(value: int | None, default: int | None) -> int | None:
            return default if value is None else value

        tgid = pid if pid is not None else home.tgid
        return Task(
            tid if tid is not None else tgid,
            tgid,
            home.comm if name is None else name,
            ppid=given(ppid, home.ppid),
            uid=given(uid, home.uid),
            gid=given(gid, home.gid),
            cgroup_id=given(cgroup, home.cgroup_id),
            cpu=given(cpu, home.cpu),
            start_time=home.start_time,
            pid_namespace=home.pid_namespace,
        )

    def advance(self, seconds: float) -> int:
        """Move the clock: intervals, profiles and timers fire when they are due. Returns how many did."""
        self._running("advance the clock")
        if not isinstance(seconds, (int, float)) or not abs(seconds) < 1 << 32:
            raise UsageError(f"advance the clock: {seconds!r} is no number of seconds")

        def on() -> bool:
            self._settle()
            return not self._session.ended

        fired = self._loaded.events.advance(seconds, on)
        self._settle()
        return fired

    def run(
        self,
        packet: bytes | None = None,
        *,
        program: str = "",
        ifindex: int = 1,
        context: Mapping[str, object] | None = None,
    ) -> PacketResult:
        """Run an XDP, tc, socket filter or cgroup_skb program on a packet, Ethernet header included.

        `program` may be left out where only one takes packets. A socket filter sees the frame as a raw packet socket
        does, header and all; its verdict is how many bytes are kept. `context` sets fields of the program's context:
        {"mark": 5}. Programs of cgroups and sockets that get no packets are run with a context alone. The result has
        `verdict`, its `name` ("PASS"), and the `packet` and the `context` afterwards.
        """
        self._open("run program")
        check_number("ifindex", ifindex, 1 << 32)
        if packet is None:
            if context is None:
                raise UsageError("run program: there is no packet", hint="give one, or context={...}")
            result = self._context_program(program).run_context(context)
        elif isinstance(packet, (bytes, bytearray, memoryview)):
            found = self._packet_program(program)
            result = found.run_packet(bytes(packet), ifindex=ifindex, context=context or {})
        else:
            raise UsageError(f"run packet: it is {type(packet).__name__}", hint="give bytes")
        self._settle()
        return result

    def _context_program(self, name: str) -> VmProgram:
        if not name and len(self._loaded.programs) > 1:
            raise UsageError(f"run program: there are {', '.join(self._loaded.programs)}", hint="name one: program=...")
        return self.program(name or next(iter(self._loaded.programs)))

    def _packet_program(self, name: str) -> VmProgram:
        from ..vm import PACKET_KINDS

        if name:
            return self.program(name)
        found = [program for program in self._loaded.programs.values() if program.type in PACKET_KINDS]
        if not found:
            raise UsageError("run packet: no program takes packets", hint="events are fired: vm.fire(probe)")
        if len(found) > 1:
            names = ", ".join(p.name for p in found)
            raise UsageError(f"run packet: programs that take packets are {names}", hint="name one: program=...")
        return found[0]

    def program(self, name: str) -> VmProgram:
        """A program by its name; it has `run_once(context)`."""
        try:
            return self._loaded.programs[name]
        except KeyError:
            near = did_you_mean(name, self._loaded.programs)
            hint = near or f"programs are {', '.join(self._loaded.programs)}"
            raise UsageError(f"find program {name!r}: there is none", hint=hint) from None

    def signal(self, name: str) -> None:
        """Run the `self:signal` probes of a signal ("SIGUSR1")."""
        self._running(f"signal {name}")
        points = [p for p in self.object.attach_points if p.provider == "self" and p.function == name]
        if not points:
            raise UsageError(f"signal {name}: no probe of the script is attached to it")
        for point in points:
            self.program(point.program).run_once()
        self._settle()

    def mock(self, helper: str | int, value: Helper | int) -> None:
        """Replace a helper from now on: with a number, or a function (machine, r1, ..., r5) -> int.

        With engine "jit", give `helpers` to `Vm` instead: native code calls what was there when it was made.
        """
        if self._coverage is None:
            raise UsageError(
                f"mock {helper}: native code has its helpers built in", hint="give them to Vm(helpers=...)"
            )
        from ._checks import check_mock

        self._open(f"mock {helper}")
        self.machine.mock(helper, check_mock(helper, value))
        self._coverage.rebuild()

    def struct(self, name: str, /, **members: object) -> Pointer:
        """Make a struct of the kernel's ("task_struct"), or of the program's, for programs that get a pointer to one.

        Members that are not given are zero. One that is a struct, or points to one, takes a dict; one that points to
        characters a text. Returns its address, for arguments, registers and fields.
        UsageError for an unknown type or member, and for what does not fit.
        """
        from ..session import Pointer

        self._open(f"make struct {name}")
        if self._structs is None:
            from ._struct import Structs

            self._structs = Structs(self.machine, self.object.btf)
        return Pointer(self._structs.make(name, members))

    def finish(self) -> int:
        """End the script as Ctrl-C would: `end` probes run, maps are printed. Returns its exit status."""
        self._session.finish()
        return self._session.status

    # Looking at what it did

    @property
    def maps(self) -> Mapping[str, MapView]:
        """Maps by name: of a script `vm.maps["@x"]`, a mapping, or with `.value` where it has no keys.

        They can be read and filled: `vm.maps["rules"]["10.0.0.0/8"] = {"action": 1}`, see `MapView`.
        """
        return self._session.all_maps

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """Global variables of a C program by name; all but constants can be set while it runs."""
        return self._session.globals

    @property
    def output(self) -> str:
        """All that the script has printed."""
        return "".join(self._out)

    @property
    def lines(self) -> list[str]:
        """`output` by lines."""
        return self.output.splitlines()

    @property
    def talk(self) -> str:
        """What was said on the error stream: warnings, errorf()."""
        return "".join(self._err)

    @property
    def printk(self) -> list[str]:
        """Lines of bpf_printk()."""
        return self.machine.output

    @property
    def status(self) -> int:
        """What the script gave to exit(), else 0."""
        return self._session.status

    @property
    def ended(self) -> bool:
        """Whether the script has called exit(), or `finish` was called."""
        return self._session.ended

    @property
    def machine(self) -> Machine:
        """The machine: memory, and `data` that helpers look at."""
        return self._loaded.machine

    @property
    def clock(self) -> int:
        """CLOCK_MONOTONIC of the programs, in nanoseconds."""
        return self.world.monotonic()

    @property
    def lost(self) -> dict[str, int]:
        """Events that did not fit the ring, by probe."""
        return self._session.lost

    @property
    def counts_coverage(self) -> bool:
        """Whether there is a `coverage`: the interpreter counts it, native code does not."""
        return self._coverage is not None

    @property
    def coverage(self) -> Coverage:
        """Which instructions and lines ran: `line_rate`, `missed_lines()`, `lcov()`, `html()`."""
        if self._coverage is None:
            raise UsageError("read coverage: native code counts nothing", hint='use engine="interpreter"')
        return self._coverage

    def verify(self, kernel: str = "", *, privileged: bool = True) -> Verification:
        """What a kernel ("5.10"; "": the newest) would say of the programs; true when it takes all of them."""
        from .. import verifier

        profile = verifier.profile(kernel) if kernel else None
        verdicts = {
            spec.name: verifier.verify(verifier.from_spec(self.object, spec), profile, privileged=privileged)
            for spec in self.object.programs
        }
        return Verification(kernel or "newest", verdicts)

    def close(self) -> None:
        """Free everything; what maps held and what was printed stays."""
        if not self._closed:
            self._closed = True
            for collect in collectors:
                collect(self)
        if self._structs is not None:
            self._structs.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Vm: {', '.join(p.name for p in self.object.programs)}>"


class _Target:
    """The target of a `Vm`: its session sees the machine's clock, not the host's."""

    def __init__(self, target: Any, fuel: int) -> None:
        self._target = target
        self._fuel = fuel
        self.loaded: Any = None

    def load(self, obj: Object) -> Any:
        try:
            self.loaded = self._target.load(obj)
        except NotSupported as error:
            if len(obj.programs) > 1 and not obj.ring:
                names = ", ".join(repr(p.name) for p in obj.programs[:3])
                error.hint = f"{error.hint}; or load those that it can run: programs=[{names}, ...]"
            raise
        for program in self.loaded.programs.values():
            program.fuel = self._fuel
        return self.loaded

    def run_values(self) -> dict[str, int]:
        world: World = self._target.world
        return {
            "run.boot_time": world.boottime(), "run.tai_offset": world.tai() - world.boottime(), "run.child_pid": 0,
            "run.pid": 0,
        }  # fmt: skip

    def watch(self, session: Any) -> LoadedVm:
        session.load()
        loaded: LoadedVm = self.loaded
        return loaded


def _world(cpus: int, seed: int) -> World:
    from random import Random

    from ..vm import World

    world = World(cpus=cpus)
    world.clock = SECOND
    chance = Random(seed)
    world.random = lambda: chance.getrandbits(32)
    world.pid = world.tgid = 1000
    world.ppid = 1
    world.comm = b"test"
    world.uid = world.gid = 1000
    world.start_time = SECOND // 2
    return world


def check_number(what: str, value: object, end: int, hint: str = "") -> None:
    """UsageError unless `value` is None or from 0 to below `end`."""
    if value is None or (isinstance(value, int) and 0 <= value < end):
        return
    if not isinstance(value, int):
        raise UsageError(f"fire event: {what} is {type(value).__name__}", hint="give a number")
    raise UsageError(f"fire event: {what} {value} is not from 0 to {end - 1}", hint=hint)
