"""How bytes that a program hands to user space (map keys, map values, event fields) are to be read.

A `ValueType` is complete in itself: decoding needs neither the source nor BTF. The compiler writes it, the
session decodes with it, sinks print by it, and it travels inside the object file.
"""

from __future__ import annotations

from .._data import Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = (
    # scalars: `size` 1, 2, 4 or 8 bytes, little endian as the host, `signed` says how to read them
    "none", "bool", "int", "pointer", "enum",
    # `name` is one of FLOAT_FORMATS
    "float",
    # `size` bytes: NUL-terminated text / u32 length then bytes (size counts both)
    "string", "buffer",
    # `element` and `count`
    "array",
    # `fields` with offsets: positional (tuple), named (record), C struct or union
    "tuple", "record", "struct", "union",
    # stacks. kstack: s64 stack id. ustack: s64 stack id, u32 tgid, u32 zero. `map` has the frames under the id,
    # `mode` is bpftrace | perf | raw | build_id, `count` the frame limit. A negative id is minus an errno.
    "kstack", "ustack",
    # symbols. ksym: u64 address. usym: u64 address, u32 tgid, u32 zero.
    "ksym", "usym",
    # u64 address family (AF_INET, AF_INET6), then 16 bytes of address
    "inet",
    "mac",          # 6 bytes
    "timestamp",    # u64 nanoseconds, `mode` = clock (boot, monotonic, tai, sw_tai), `text` = strftime format
    "cgroup_path",  # u64 cgroup id; `text` = pattern of the hierarchy
    "username",     # u64 uid
    "strerror",     # u64 errno
    "signal_name",  # u64 signal number
    "syscall_name",  # u64 system call number
    "probe",        # u64 index into `values`
    # aggregations, values of maps only, one copy per CPU
    "count",        # u64
    "sum",          # u64 or s64
    "avg", "stats",  # u64 or s64 total, u64 count
    "min", "max",   # u64 or s64 value, u64 is_set
    "hist",         # u64[count] buckets of a log2 histogram with `bits` extra bits of precision
    "lhist",        # u64[count] buckets: below min, (max - min) / step steps, above max; `bounds` = min, max, step
    # `count` buckets of u64: number of the interval, value, how many values (avg) or when (last), 1 when there is one;
    # `mode` is "" (last), avg, max, min or sum, `bounds` = interval in ns, count, 0. Interval 0 begins at 1970-01-01.
    "tseries",
)  # fmt: skip

# Names of C's floating-point formats, and their struct codes. "long double" is that of the machine.
FLOAT_FORMATS = {"_Float16": "e", "float": "f", "double": "d", "long double": "", "_Float128": ""}

AGGREGATIONS = ("count", "sum", "avg", "stats", "min", "max", "hist", "lhist", "tseries")


class Field(Data):
    """A member of a tuple, record, struct or event. `offset` in bytes from the start of the enclosing value.

    A bit field has `bits` > 0 and `bit_offset` counted from the least significant bit of the `type.size` bytes
    at `offset`.
    """

    name: str
    offset: int
    type: ValueType
    bit_offset: int = 0
    bits: int = 0


class ValueType(Data):
    """Layout and meaning of one value; see `KINDS` for what each kind uses."""

    kind: str
    size: int = 0
    signed: bool = False
    name: str = ""
    fields: tuple[Field, ...] = ()
    element: ValueType | None = None
    count: int = 0
    values: tuple[tuple[int, str], ...] = ()
    mode: str = ""
    text: str = ""
    map: str = ""
    bits: int = 0
    bounds: tuple[int, int, int] = (0, 0, 0)


class MapFormat(Data):
    """How a map that a script declared is keyed, read and printed. `key` is None for a scalar map."""

    name: str  # as in the source, "@reads"
    map: str  # name of the MapSpec that holds it
    key: ValueType | None
    value: ValueType
    per_cpu: bool = False


class EventFormat(Data):
    """A record in the event ring: u64 format id, then `fields` at their offsets (from the record's start).

    `action` says what user space does with it:

    action         fields                        text             args
    printf         the format's arguments        format string
    errorf, warnf  the format's arguments        format string   trail (places of the macros around it)
    system, cat    the format's arguments        format string of the command, of the file name
    join           one array of strings                           delim
    time                                         strftime format
    print          the value                     -
    print_map                                                     map, top, div
    clear, zero                                                   map
    exit           the status (optional)                          code (when there is no field)
    helper_error   s32 or s64 return value                        helper (function's name)
    runtime_error                                message
    syscall is another name of system.

    print_map with a field "key" prints one element. A map is named as in the source ("@reads"). `probe` is the index of
    the source probe block (`AttachPoint.source`), or -1.
    `file`, `line`, `col`, `end_col` (exclusive) and `source` (that line's text) say where the call stands.
    """

    id: int
    action: str
    size: int
    fields: tuple[Field, ...] = ()
    text: str = ""
    args: tuple[tuple[str, int | str], ...] = ()
    file: str = ""
    line: int = 0
    col: int = 0
    end_col: int = 0
    source: str = ""
    probe: int = -1


class Batch:
    """Records copied out of a ring at once.

    `data` holds them with their headers. `runs` holds (start, count, size, stride): record i of a run is
    `data[start + i * stride:][:size]`. Records of one size that follow each other are one run, so that
    `struct.Struct.iter_unpack` or numpy can take a whole run.
    """

    __slots__ = ("count", "data", "runs")

    def __init__(self, data: bytes, runs: list[tuple[int, int, int, int]], count: int) -> None:
        self.data = data
        self.runs = runs
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[bytes]:
        data = self.data
        for start, count, size, stride in self.runs:
            for at in range(start, start + count * stride, stride):
                yield data[at : at + size]

    def offsets(self) -> list[int]:
        """Where each record starts in `data`."""
        return [at for start, count, _, stride in self.runs for at in range(start, start + count * stride, stride)]
