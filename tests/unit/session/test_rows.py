"""Records that come many at once become the events that they become one by one."""

from __future__ import annotations

from struct import pack

import pytest
from unit.session.fakes import S32, S64, fields, make_object, point, text_type

from osmia.objects import EventFormat
from osmia.session import Printf, Session
from osmia.session._count import shared_id
from osmia.session._rows import compile_rows

COUNT = 300
NUMBERS = EventFormat(7, "printf", 24, fields(S32, S64), text="%d %ld\n", probe=0)
TEXTS = EventFormat(8, "printf", 24, fields(S64, text_type(8)), text="%ld %s\n", probe=0)


class Ring:
    """A target whose ring holds one run of equal records, as the kernel lays them out."""

    def __init__(self, id: int, payloads: list[bytes]) -> None:
        self.size, self.stride = 8 + len(payloads[0]), (8 + len(payloads[0]) + 15) & ~7
        self.data = b"".join((bytes(8) + pack("<Q", id) + p).ljust(self.stride, b"\xff") for p in payloads)
        self.runs, self.count = [(8, len(payloads), self.size, self.stride)], len(payloads)


@pytest.mark.parametrize(
    ("format", "payloads"),
    [
        (NUMBERS, [pack("<iq", i - 5, i << 40) for i in range(COUNT)]),
        (TEXTS, [pack("<q8s", -i, f"t{i}".encode()) for i in range(COUNT)]),
    ],
    ids=["numbers", "texts"],
)
def test_many_at_once_are_what_they_are_one_by_one(format, payloads):
    events: list[Printf] = []
    session = Session(make_object((point("tracepoint", "t"),), (format,)), None, sink=events.append)
    batch = Ring(format.id, payloads)
    session._reader = type("Reader", (), {"drain": lambda _self: batch})()
    assert session._drain() == COUNT
    at_once, events[:] = list(events), []
    assert session._row_handlers[format.id] is not None
    handle = session._new_handler(format.id)
    for i in range(COUNT):
        handle(batch.data, 8 + i * batch.stride)
    assert [(e.args, e.text, e.probe) for e in at_once] == [(e.args, e.text, e.probe) for e in events]
    assert all(isinstance(e, Printf) and repr(e).startswith("Printf(") for e in at_once)


def test_records_of_several_formats_are_told_apart():
    ids = [1, 1, 1, 2]
    data = b"".join(bytes(8) + pack("<QQ", i, 0) for i in ids)
    assert shared_id(data, 8, 3, 24) == 1
    assert shared_id(data, 8, 4, 24) == -1
    assert shared_id(data + b"x", 8, 3, 24) == -1


def test_other_actions_are_handled_one_by_one():
    session = Session(make_object((point("tracepoint", "t"),), ()), None)
    assert compile_rows(EventFormat(1, "exit", 12, fields(S32)), session) is None
