"""Many records of one format at once: a flood of `printf()` costs what is called for each record, so little is."""

from __future__ import annotations

from struct import Struct

from ._actions import probe_of
from ._decode import SIGNED, UNSIGNED, compile_fields
from ._events import Printf
from ._format import compile_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from ..objects import EventFormat, Field
    from ._actions import Host

    # `handle(data, start, count, stride)`: `count` records, `stride` bytes apart, the first at `start`.
    RowsHandler: TypeAlias = Callable[[bytes, int, int, int], None]

HEADER = 8  # of a record in a ring: what lies between two of them


def compile_rows(format: EventFormat, host: Host) -> RowsHandler | None:
    """What to do with a run of records of `format`; None where they have to be handled one by one."""
    if format.action != "printf":
        return None
    event = event_class(format, host)
    rows = _compile_decoder(format.fields, host)

    def handle(data: bytes, start: int, count: int, stride: int) -> None:
        emit = host.emit
        for args in rows(data, start, count, stride):
            emit(event(args))

    return handle


def event_class(format: EventFormat, host: Host) -> Callable[[tuple[Any, ...]], Printf]:
    """A `Printf` whose text and probe belong to the class: only the arguments are kept for each event."""

    class Row(Printf):
        __slots__ = ()
        _format = staticmethod(compile_format(format.text, format.fields))
        probe = probe_of(format, host)

        def __init__(self, args: tuple[Any, ...]) -> None:
            self.args = args

    Row.__name__ = Row.__qualname__ = "Printf"  # to those who use it, it is
    return Row


def _compile_decoder(
    fields: tuple[Field, ...], host: Host
) -> Callable[[bytes, int, int, int], Iterable[tuple[Any, ...]]]:
    decode = compile_fields(fields, host.names)
    layout, size = _numbers(fields)
    structs: dict[int, Struct] = {}

    def rows(data: bytes, start: int, count: int, stride: int) -> Iterable[tuple[Any, ...]]:
        first, last = start - HEADER, start - HEADER + count * stride
        if not layout or first < 0 or last > len(data) or size + HEADER > stride:
            return [decode(data, at) for at in range(start, start + count * stride, stride)]
        each = structs.get(stride)
        if each is None:
            each = structs[stride] = Struct(f"<{HEADER}x{layout}{stride - HEADER - size}x")
        return each.iter_unpack(memoryview(data)[first:last])

    return rows


def _numbers(fields: tuple[Field, ...]) -> tuple[str, int]:
    """Struct codes for fields that all are numbers, one after the other, and their size; ("", 0) for others."""
    code, at = "", 0
    for field in fields:
        t = field.type
        if t.kind != "int" or field.bits or field.offset < at:
            return "", 0
        code += f"{field.offset - at}x{(SIGNED if t.signed else UNSIGNED)[t.size]}"
        at = field.offset + t.size
    return code, at
