"""Events and values go to other processes: what comes out of pickle is what went in."""

from __future__ import annotations

import copy
import pickle

import pytest
from unit.session.fakes import S32, S64, fields, make_object, point

from osmia import session as s
from osmia.objects import EventFormat
from osmia.session._model import log2_histogram, record_class
from osmia.session._rows import event_class

STACK = s.Stack((1, 2), pid=7, mode="perf", resolve=lambda stack: [f"f{a}" for a in stack.addresses])
FORMAT = EventFormat(7, "printf", 24, fields(S32, S64), text="%d %ld\n", probe=-1)
VALUES = [
    s.Array((1, 2)),
    s.Enum(1, "ONE"),
    s.Pointer(0xDEAD),
    log2_histogram([0, 0, 3], 0),
    s.Stats(2, 3, 6),
    s.TimeSeries(((0, 1), (5, None)), 5),
    record_class("sock", ("a", "count"))((1, record_class("", ("b",))(("x",)))),
    STACK,
]
EVENTS = [
    s.Printf(lambda args: f"{args[0]}", (3,), "begin"),
    event_class(FORMAT, s.Session(make_object((point("begin", "b"),), (FORMAT,)), None))((1, 2)),
    s.Message("error", "no", "x.bt", 1, 2, 3),
    s.RuntimeFault("no", helper="map_update", code=-7),
    s.MapSnapshot("@", "map", False, lambda: iter([(STACK, 1)])),
    s.MapSnapshot("@n", "map", True, lambda: iter([(None, 1)])),
    s.Time("x"),
    s.Attached(3),
    s.Lost(1, {"a": 1}),
    s.Ended(3),
    s.TestResult("t", 0, 1, True, 5, [s.Print(1)]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_values(value):
    for made in (pickle.loads(pickle.dumps(s.Print(value))).value, copy.deepcopy(value)):
        assert made == value and repr(made) == repr(value) and hash(made) == hash(value)


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_events(event):
    made = pickle.loads(pickle.dumps(event))
    assert repr(made) == repr(event) and made.probe == event.probe and type(made).__name__ == type(event).__name__


def test_members_of_a_record_and_names_of_a_stack_stay():
    record = pickle.loads(pickle.dumps(VALUES[6]))
    assert record.a == 1 and record.count.b == "x" and record.asdict() == {"a": 1, "count": {"b": "x"}}
    stack = pickle.loads(pickle.dumps(STACK))
    assert (stack.frames, stack.mode, stack.pid) == (["f1", "f2"], "perf", 7) and str(stack) == str(STACK)
