"""What every front-end compiles to: an `Object`, plain frozen data, the same on every machine.

An object is written as, and read from, a standard BPF ELF file (`write_elf`, `read_elf`), and it is what the
compile cache stores. Nothing here touches the kernel.
"""

from __future__ import annotations

from .._data import Data
from ._values import EventFormat, MapFormat


class MapSpec(Data):
    """A map to create. `type` is a `BPF_MAP_TYPE_*` number; sizes are in bytes.

    `key_type` and `value_type` are type ids in the object's BTF, 0 for none. `contents` initialises the one
    element of a data section (`.rodata`, `.data`, `.bss`); `inner` is the template of a map of maps;
    `pinning` is 0 (none) or 1 (by name) as in libbpf. `values` lists initial entries of a map of maps or a prog array
    as (index, symbol name). `max_entries` 0 means "one per possible CPU" for a perf event array.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    key_type: int = 0
    value_type: int = 0
    contents: bytes | None = None
    inner: MapSpec | None = None
    pinning: int = 0
    numa_node: int = 0
    map_extra: int = 0
    frozen: bool = False  # freeze after filling (.rodata)
    values: tuple[tuple[int, str], ...] = ()


class Relocation(Data):
    """A symbol that the instruction at index `insn` refers to, resolved by `link` or by the target.

    kind:
      map        ld_imm64 <- the map's fd
      map_value  ld_imm64 <- address of byte `addend` of the map's (only) value
      call       bpf-to-bpf call of the function `symbol`
      func       ld_imm64 <- address of the function `symbol` (callback)
      kfunc      call of the kernel function `symbol` (by BTF id)
      ksym       ld_imm64 <- address of the kernel variable `symbol`
      kconfig    ld_imm64 <- address of byte `addend` of the kconfig map (`symbol` = CONFIG_ name)
    `weak` symbols resolve to zero where the kernel lacks them.
    """

    insn: int
    kind: str
    symbol: str
    addend: int = 0
    weak: bool = False


class LineInfo(Data):
    """Instruction index -> place in the source; `text` is that source line."""

    insn: int
    file: str
    line: int
    col: int
    text: str = ""


class CoreRelocation(Data):
    """A CO-RE relocation as in `.BTF.ext`: `kind` is enum bpf_core_relo_kind, `access` the accessor ("0:1:2")."""

    insn: int
    type_id: int
    access: str
    kind: int


class Function(Data):
    """Instructions of one function, before linking. `insns` holds 8 bytes an instruction; ld_imm64 takes two.

    `type_id` is the BTF id of its FUNC, 0 for none.
    """

    name: str
    insns: bytes
    relocations: tuple[Relocation, ...] = ()
    type_id: int = 0
    lines: tuple[LineInfo, ...] = ()
    core: tuple[CoreRelocation, ...] = ()
    is_global: bool = False


class ProgramSpec(Data):
    """A program to load: an entry function and how the kernel is to see it.

    `type` is a `BPF_PROG_TYPE_*`, `attach_type` a `BPF_*` attach type (0 where the type needs none), `attach_to` the
    BTF name of what a tracing program attaches to ("vfs_read", "tcp_sock:..."), `section` its ELF section
    ("tracepoint/syscalls/sys_enter_openat").
    """

    name: str
    section: str
    type: int
    function: Function
    attach_type: int = 0
    attach_to: str = ""
    flags: int = 0  # BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS, ...
    autoload: bool = True


class AttachPoint(Data):
    """Where a program is to be attached. One program may have several.

    provider   target               function / detail                         uses
    begin, end, self(signal name in `function`), test, bench
    interval, profile               period in nanoseconds (`period`) or `frequency` in Hz
    tracepoint category             event
    rawtracepoint module or ""      event
    kprobe, kretprobe module or ""  function, `offset`, or `address`; `functions` when attached as multi
    fentry, fexit module or ""      function
    uprobe, uretprobe path of file  function, `offset` = FILE offset to probe; `functions`/`offsets` when multi
    usdt       path of file         provider:name in `function`; `offset` FILE offset, `ref_ctr_offset`
    software, hardware              event name, `period` = count
    watchpoint                      `address`, `length`, `mode`
    iter       -                    iterator's name, `pin`
    and for objects built from C: xdp, tc, tcx, cgroup, lsm, socket_filter, ... with what `section` said in `function`
    `name` is the probe's full canonical name, as listed and as the `probe` builtin prints it.
    `source` is the index of the source probe block it came from; `pid` limits it to a process (0: all).
    """

    provider: str
    program: str
    name: str = ""
    target: str = ""
    function: str = ""
    offset: int = 0
    address: int = 0
    period: int = 0
    frequency: int = 0
    length: int = 0
    mode: str = ""
    pid: int = 0
    cookie: int = 0
    ref_ctr_offset: int = 0
    functions: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()
    ref_ctr_offsets: tuple[int, ...] = ()
    cookies: tuple[int, ...] = ()
    pin: str = ""
    source: int = -1
    optional: bool = False  # a missing one is a warning (config missing_probes), not an error


class Object(Data):
    """Programs, maps, types and attach points of one compiled source.

    `btf` is raw little-endian BTF of the object itself. `subprograms` are functions that programs call; `link` appends
    the reachable ones.
    `map_formats`, `events` and `settings` describe, for the session, what the programs produce.
    `loss` names an array with one value, u64 counters that programs add to: one for each of `probe_names` (events lost
    there since the ring was full), then one for each of `map_formats` (updates refused: the map was full), then one
    for stacks that the map of stacks had no room for.
    Settings ("run.NAME", "MAP+OFFSET") ask the session to write a u64 into a map's contents before loading: NAME is
    boot_time (CLOCK_BOOTTIME, ns), tai_offset (TAI minus boot time, ns), child_pid (of -c) or pid.
    """

    programs: tuple[ProgramSpec, ...]
    maps: tuple[MapSpec, ...]
    subprograms: tuple[Function, ...] = ()
    btf: bytes = b""
    license: str = "GPL"
    version: int = 0
    attach_points: tuple[AttachPoint, ...] = ()
    map_formats: tuple[MapFormat, ...] = ()
    events: tuple[EventFormat, ...] = ()
    ring: str = ""  # name of the ring buffer (or perf event array) map that carries `events`
    loss: str = ""  # name of the map of loss counters, see below
    probe_names: tuple[str, ...] = ()
    settings: tuple[tuple[str, int | str], ...] = ()  # config variables that the session reads

    @property
    def is_plain(self) -> bool:
        """Whether nothing in it tells a session what its programs produce: it comes from a C compiler."""
        return not (self.ring or self.settings or self.loss or self.probe_names)
