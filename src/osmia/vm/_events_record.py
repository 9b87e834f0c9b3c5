"""The record of a tracepoint, made from arguments by name."""

from __future__ import annotations

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..probes import StaticTracepoints, TracepointField, TracepointFormat
    from ._events_memory import EventMemory

# Types of arguments of system calls that take a 32-bit register: what is above it is zero, as compilers leave it.
_WORDS = (
    "int",
    "unsigned int",
    "u32",
    "__u32",
    "s32",
    "__s32",
    "uid_t",
    "gid_t",
    "pid_t",
    "mode_t",
    "umode_t",
    "key_t",
)
_tables: list[StaticTracepoints] = []


def tracepoint_format(category: str, event: str) -> TracepointFormat:
    """Its fields, from the table or from tracefs. ProbeError when neither has it."""
    if not _tables:
        from ..probes import StaticTracepoints, Tracefs

        _tables.append(StaticTracepoints(Tracefs()))
    return _tables[0].format(category, event)


def make_record(category: str, event: str, args: Mapping[str, object], memory: EventMemory, *, pid: int = 0) -> bytes:
    """The record with these fields; what is not given is zero or empty. UsageError for a field that it has not."""
    format = tracepoint_format(category, event)
    known = {f.name: f for f in format.args}
    for name in args:
        if name not in known:
            from ..probes import closest

            near = closest(str(name), known)
            raise UsageError(
                f"fire tracepoint:{category}:{event}: it has no field {name!r}",
                hint=f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}",
            )
    values = dict(args)
    if category == "syscalls" and "__syscall_nr" not in values:
        values["__syscall_nr"] = _number(event.removeprefix("sys_").partition("_")[2])
    out = bytearray(max(format.size, 8))
    out[4:8] = (pid & 0xFFFF_FFFF).to_bytes(4, "little")
    for field in format.args:
        value = values.get(field.name)
        if field.dynamic:
            _put_dynamic(out, field, value)
        elif value is not None:
            out[field.offset : field.offset + field.size] = _bytes(field, value, memory, category == "syscalls")
    out += bytes(-len(out) % 8)
    return bytes(out)


def _number(name: str) -> int:
    from ..probes import traced_syscalls

    return next((number for number, known in traced_syscalls().items() if known == name), 0)


def _put_dynamic(out: bytearray, field: TracepointField, value: object) -> None:
    """`length << 16 | offset` in the field, the data behind the record."""
    data = _text(value or "", field)
    at = len(out)
    where = at - (field.offset + 4) if field.dynamic == "rel_loc" else at
    out[field.offset : field.offset + 4] = (len(data) << 16 | where).to_bytes(4, "little")
    out += data


def _text(value: object, field: TracepointField) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape") + b"\0"
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise _wrong(field, value, "a str or bytes")


def _bytes(field: TracepointField, value: object, memory: EventMemory, is_syscall: bool) -> bytes:
    if field.count > 0:
        if isinstance(value, (list, tuple)):
            each = field.size // field.count
            data = b"".join(_number_bytes(field, item, each) for item in value)
        else:
            data = _text(value, field)
        if field.is_string and len(data) > field.size:
            data = data[: field.size - 1]
        if len(data) > field.size:
            raise _wrong(field, value, f"at most {field.size} bytes")
        return data.ljust(field.size, b"\0")
    if isinstance(value, (bytes, bytearray)) and not field.is_pointer and len(value) == field.size:
        return bytes(value)
    if not isinstance(value, int) and not field.is_pointer:
        raise _wrong(field, value, "an int")
    size = 4 if is_syscall and field.type.removeprefix("const ") in _WORDS else field.size
    number = value if isinstance(value, int) else memory.value(value, field.name)
    return _number_bytes(field, number, size).ljust(field.size, b"\0")


def _number_bytes(field: TracepointField, value: object, size: int) -> bytes:
    """A number in `size` bytes, taken as signed or unsigned: what programs read is up to them."""
    if not isinstance(value, int):
        raise _wrong(field, value, "an int")
    if not -1 << 8 * size - 1 <= value < 1 << 8 * size:
        raise _wrong(field, value, f"a number of {8 * size} bits")
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _wrong(field: TracepointField, value: object, wanted: str) -> UsageError:
    return UsageError(f"fire tracepoint: {field.declaration} got {value!r}", hint=f"it takes {wanted}")
