"""The machine that programs run on: memory, maps, helpers, the world, and what a run leaves behind."""

from __future__ import annotations

from ..errors import NotSupported, UsageError, VmError, VmFault, did_you_mean
from ._memory import DEFAULT_LIMIT, Memory
from ._world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol, Self

    # (machine, r1, r2, r3, r4, r5) -> r0; all numbers unsigned, 64 bits. A result may be negative: it is wrapped.
    Helper = Callable[["Machine", int, int, int, int, int], int]

    class ProgramMap(Protocol):
        """What the machine itself needs of a map (see `_map.py` for all of it)."""

        handle: int
        closed: bool

        @property
        def name(self) -> str: ...
        @property
        def type(self) -> int: ...
        @property
        def key_size(self) -> int: ...
        @property
        def value_size(self) -> int: ...
        @property
        def max_entries(self) -> int: ...

    class Process(Protocol):
        """Whose memory probe_read reads."""

        def read(self, address: int, size: int) -> bytes: ...


# What a program holds as pointer to a map or to one of its functions. Neither is an address that a user-space process
# can have, so that following one is a fault in every mode.
MAP_HANDLES = 0xFFFF_8880_0000_0000
MAP_HANDLE_STEP = 0x1000
FUNCTION_HANDLES = 0xFFFF_C000_0000_0000
CODE_SHIFT = 24  # a function's handle: FUNCTION_HANDLES + code << CODE_SHIFT + first instruction

_LINE = 64  # bytes that a line of output takes beside its text

FRAMES = 8
FRAME_SIZE = 512
NESTED = 8  # runs within runs: callbacks that helpers call, whose helpers call callbacks
TAIL_CALL = 12  # the helper's number: to the engines it is an instruction
TAIL_CALLS = 33  # MAX_TAIL_CALL_CNT
# Each program of a chain of tail calls may have called functions before it: what called them stays on the stack.
RUN_STACK = (TAIL_CALLS + 1) * FRAMES * FRAME_SIZE


class Machine:
    """State that programs share; a context manager. Helpers get it as their first argument.

    `helpers` replaces helpers by name or number. `process` is the target of probe_read: None means that only this
    machine's own regions can be read. `output` collects printk's lines unless `on_print` takes them.
    """

    def __init__(
        self,
        *,
        world: World | None = None,
        helpers: Mapping[str | int, Helper | int] | None = None,
        process: Process | None = None,
        memory_limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.memory = Memory(memory_limit)
        self.world = world or World()
        self.process = process
        self.output: list[str] = []
        self._printed = 0  # what `output` takes, in bytes
        self.on_print: Callable[[str], None] | None = None
        self.pending: BaseException | None = None  # raised by a helper below native code; see `_jit_run`
        self.depth = 0  # runs within runs
        self.context = 0  # r1 of the outermost run
        self.program_type = 0
        self.attach_type = 0
        self.functions: dict[int, Callable[..., int]] = {}  # handle -> callback of a loaded program
        self.data: dict[str, Any] = {}  # what helpers keep between calls (redirect targets, packet state), by subject
        self._maps: list[ProgramMap] = []
        self._mocks: dict[int, Helper] = {}
        self._codes = 0
        self._stack = None if memory_limit < FRAMES * FRAME_SIZE else self._make_stack()
        for which, helper in (helpers or {}).items():
            self.mock(which, helper)

    def _make_stack(self) -> Any:
        """Most of it is never touched, and is not counted."""
        import mmap

        block = mmap.mmap(-1, NESTED * RUN_STACK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory.used += NESTED * FRAMES * FRAME_SIZE
        return self.memory.adopt(memoryview(block), "stack")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory; programs of this machine can no longer run."""
        self.functions.clear()
        self.memory.close()
        self._stack = None

    @property
    def stack_top(self) -> int:
        """r10 of the next run's first frame: the end of the stack, or where the run that is on ends."""
        if self._stack is None:
            raise VmError("run a program: the machine is closed, or its memory limit leaves no stack")
        if self.depth >= NESTED:
            raise VmFault(f"call: {NESTED} runs within runs are too many", kind="depth")
        end: int = self._stack.end
        return end - self.depth * RUN_STACK

    # Maps

    def add_map(self, made: ProgramMap) -> int:
        """Make a map known; returns (and stores as `made.handle`) what programs hold as pointer to it."""
        self._maps.append(made)
        made.handle = MAP_HANDLES + (len(self._maps) - 1) * MAP_HANDLE_STEP
        return made.handle

    def map_at(self, handle: int) -> Any:
        """The map that a program's argument points to; VmFault for anything else."""
        index, rest = divmod(handle - MAP_HANDLES, MAP_HANDLE_STEP)
        if rest or not 0 <= index < len(self._maps):
            raise VmFault(f"call: {handle:#x} is no map", kind="call", address=handle)
        found = self._maps[index]
        if found.closed:
            raise VmFault(f"call: map {found.name} is closed", kind="call", address=handle)
        return found

    @property
    def maps(self) -> list[Any]:
        """Every map that was added, in order."""
        return list(self._maps)

    # Functions of programs

    def new_code(self) -> int:
        """A number for one loaded program, unique on this machine."""
        self._codes += 1
        return self._codes

    def call(self, function: int, *arguments: int) -> int:
        """Call back into a program from a helper: `function` is what the program passed; up to five arguments."""
        target = self.functions.get(function)
        if target is None:
            raise VmFault(f"call: {function:#x} is no function of a program", kind="call", address=function)
        return target(*arguments)

    # Helpers

    def mock(self, which: str | int, helper: Helper | int) -> None:
        """Replace a helper, by name ("ktime_get_ns") or number; an int is what it is to return from now on."""
        number = which if isinstance(which, int) else _number(which)
        if isinstance(helper, int):
            value = helper

            def constant(machine: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
                return value

            self._mocks[number] = constant
        else:
            self._mocks[number] = helper

    def is_mocked(self, number: int) -> bool:
        """Whether `mock` replaced the helper."""
        return number in self._mocks

    def helper(self, number: int, program: str = "") -> Helper:
        """The helper of this number; NotSupported, naming helper and program, when user space has none."""
        found = self._mocks.get(number)
        if found is None:
            from ._helpers import HELPERS

            found = HELPERS.get(number)
        if found is None:
            from ..isa import helper_name
            from ..objects import POISON
            from ._helpers import INSTEAD

            if number == POISON:
                return _poisoned
            short = helper_name(number) or str(number)
            name = f"bpf_{short}"
            instead = f"{INSTEAD[short]}, or " if short in INSTEAD else ""
            raise NotSupported(
                f"load {program or 'program'}: helper {name} (number {number}) does not exist in user space",
                feature=name,
                hint=f"{instead}mock it in a unit test: Vm(..., helpers={{{short!r}: ...}})",
            )
        return found

    def print(self, text: str) -> None:
        """A line of printk. VmFault when what nobody took away is more than the machine's memory may be."""
        if self.on_print is not None:
            self.on_print(text)
            return
        self._printed += len(text) + _LINE
        if self._printed > self.memory.limit:
            self._printed = sum(map(len, self.output)) + _LINE * len(self.output)
            if self._printed > self.memory.limit:
                raise VmFault(f"call: printk: {len(self.output)} lines wait to be read", kind="call")
        self.output.append(text)

    # Memory, short

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the program's memory; VmFault where there are none."""
        return self.memory.read(address, size)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes in the program's memory; VmFault where it may not be written."""
        self.memory.write(address, data)


def _poisoned(machine: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """What stands for a CO-RE relocation that could not be resolved: no run that asks first comes here."""
    raise VmFault("a field, type or value is used that this machine's kernel has not", kind="instruction")


def _number(name: str) -> int:
    from ..isa import HELPERS

    short = name.removeprefix("bpf_")
    if short not in HELPERS:
        raise UsageError(f"mock {name!r}: no such helper", hint=did_you_mean(short, HELPERS))
    return HELPERS[short]
