from __future__ import annotations

import struct
import threading
import time

import pytest
from unit.session.fakes import S32, S64, FakeMap, FakeTarget, fields, make_object, point, record, text_type

from osmia.errors import AttachError, UsageError
from osmia.objects import EventFormat, MapFormat, MapSpec, ValueType
from osmia.session import Attached, Ended, Lost, MapSnapshot, Message, Print, Printf, Session

COUNTS = MapFormat("@c", "AT_c", text_type(8), ValueType("count", size=8), per_cpu=True)


def run(obj, target, **options):
    events = []
    with Session(obj, target, sink=events.append, **options) as session:
        session.start()
        status = session.run()
    return events, status


def test_begin_and_end_alone_end_at_once():
    hello = EventFormat(1, "printf", 12, fields(S32), text="n=%d\n")
    obj = make_object((point("begin", "b"), point("end", "e")), (hello,))
    target = FakeTarget(on_run={"b": [record(1, struct.pack("<i", -3))], "e": [record(1, struct.pack("<i", 4))]})
    events, status = run(obj, target)
    assert [type(e) for e in events] == [Attached, Printf, Printf, Ended]
    assert [e.text for e in events[1:3]] == ["n=-3\n", "n=4\n"]
    assert events[1].args == (-3,)
    assert status == 0
    assert target.loaded.closed


def test_exit_ends_with_its_status_and_drops_what_came_after():
    obj = make_object(
        (point("interval", "i"), point("end", "e")),
        (
            EventFormat(1, "exit", 12, fields(S32)),
            EventFormat(2, "print", 16, fields(S64)),
        ),
    )
    target = FakeTarget(
        ring=[record(2, bytes(8)), record(1, struct.pack("<i", 7)), record(2, struct.pack("<q", 1))],
        on_run={"e": [record(2, struct.pack("<q", 9))]},
    )
    events, status = run(obj, target)
    assert status == 7
    assert [e.value for e in events if isinstance(e, Print)] == [0, 9]


def test_attach_order_and_detach():
    obj = make_object((point("kprobe", "k1"), point("tracepoint", "t1"), point("kprobe", "k2"), point("begin", "b")))
    target = FakeTarget()
    run(obj, target, duration=0.0)
    steps = target.loaded.log
    assert steps[:4] == [
        ("run", "b"), ("attach", "tracepoint:t1"), ("attach", "kprobe:k2"), ("attach", "kprobe:k1"),
    ]  # fmt: skip
    assert sorted(steps[4:]) == sorted([("detach", n) for _what, n in steps[1:4]])


def test_missing_probe_takes_everything_down_unless_optional():
    obj = make_object((point("tracepoint", "t"), point("tracepoint", "gone")))
    target = FakeTarget(refuse=("gone",))
    with pytest.raises(AttachError):
        run(obj, target, duration=0.0)
    assert target.loaded.closed
    assert target.loaded.log[-1] == ("detach", "tracepoint:t")
    warned = []
    obj = make_object((point("tracepoint", "t"), point("tracepoint", "gone", optional=True)))
    events, _ = run(obj, FakeTarget(refuse=("gone",)), duration=0.0, warn=warned.append)
    assert events[0].count == 1
    assert len(warned) == 1 and "gone" in warned[0]


def test_no_probe_is_an_error():
    with pytest.raises(AttachError, match="--test"):
        run(make_object((point("test", "t"),)), FakeTarget())


def test_final_maps_and_setting_that_stops_them():
    data = {b"sh".ljust(8, b"\0"): struct.pack("<QQ", 1, 2)}
    obj = make_object((point("interval", "i"),), formats=(COUNTS,))
    events, _ = run(obj, FakeTarget(maps={"AT_c": FakeMap(data)}), duration=0.0)
    shot = events[-1]
    assert isinstance(shot, MapSnapshot)
    assert list(shot.entries()) == [("sh", 3)]
    obj = obj.replace(settings=(("print_maps_on_exit", 0),))
    events, _ = run(obj, FakeTarget(maps={"AT_c": FakeMap(data)}), duration=0.0)
    assert isinstance(events[-1], Ended)


def test_print_clear_zero_happen_in_ring_order():
    at = (("map", "@c"),)
    obj = make_object(
        (point("begin", "b"),),
        tuple(
            EventFormat(i, action, 8, args=at)
            for i, action in enumerate(("print_map", "zero", "print_map", "clear"), 1)
        ),
        (COUNTS,),
    )
    data = {b"sh".ljust(8, b"\0"): struct.pack("<QQ", 1, 2)}
    target = FakeTarget(maps={"AT_c": FakeMap(data)}, on_run={"b": [record(i) for i in (1, 2, 3, 4)]})
    events, _ = run(obj, target)
    assert [e.value for e in events if isinstance(e, MapSnapshot)] == [{"sh": 3}, {"sh": 0}, {}]


def test_losses_are_reported_by_probe_and_once():
    obj = make_object((point("interval", "i"),), formats=(COUNTS,), loss="loss", probe_names=("interval:i", "x"))
    obj = obj.replace(maps=(*obj.maps, MapSpec("loss", 2, 4, 32, 1, contents=bytes(32))))
    lost = {bytes(4): struct.pack("<4Q", 7, 0, 2, 0)}
    events, _ = run(obj, FakeTarget(maps={"loss": FakeMap(lost)}), duration=0.0)
    assert [(e.count, e.by_probe) for e in events if isinstance(e, Lost)] == [(7, {"interval:i": 7})]
    said = [e.text for e in events if isinstance(e, Message)]
    assert len(said) == 2 and said[1].startswith("Map full") and "@c lost 2" in said[1]
    assert said[0].startswith("7 events did not fit the ring: raise the config perf_rb_pages")


def test_losses_of_a_per_cpu_array():
    lost = {struct.pack("<I", 0): struct.pack("<QQ", 3, 4), struct.pack("<I", 1): bytes(16)}
    obj = make_object((point("interval", "i"),), loss="loss", probe_names=("interval:i", "x"), extra_maps=("loss",))
    events, _ = run(obj, FakeTarget(maps={"loss": FakeMap(lost)}), duration=0.0)
    assert [(e.count, e.by_probe) for e in events if isinstance(e, Lost)] == [(7, {"interval:i": 7})]


def test_stop_from_another_thread_ends_a_waiting_trace():
    obj = make_object((point("interval", "i"),))
    with Session(obj, FakeTarget()) as session:
        session.start()
        begin = time.monotonic()
        threading.Timer(0.05, session.stop).start()
        session.run()
        assert time.monotonic() - begin < 0.4


def test_command_starts_after_attach_and_ends_the_trace(tmp_path):
    out = tmp_path / "out"
    obj = make_object((point("uprobe", "u"),))
    target = FakeTarget()
    with Session(obj, target, cmd=["/bin/sh", "-c", f"echo $$ > {out}"]) as session:
        session.start()
        pid = target.loaded.points[0].pid
        session.run()
    assert int(out.read_text()) == pid


def test_command_that_does_not_exist():
    with pytest.raises(UsageError, match="nothing-here"):
        run(make_object((point("uprobe", "u"),)), FakeTarget(), cmd=["nothing-here"])


def test_pid_must_be_there():
    with pytest.raises(UsageError, match="no such process"):
        run(make_object((point("uprobe", "u"),)), FakeTarget(), pid=2**22 - 3)


def test_system_needs_unsafe():
    obj = make_object((point("begin", "b"),), (EventFormat(1, "system", 8, text="echo hi"),))
    events, _ = run(obj, FakeTarget(on_run={"b": [record(1)]}))
    assert isinstance(events[1], Message) and "--unsafe" in events[1].text
    events, _ = run(obj, FakeTarget(on_run={"b": [record(1)]}), unsafe=True)
    assert events[1].text == "hi\n"


def test_cat_and_join_and_warnings(tmp_path):
    path = tmp_path / "f"
    path.write_text("0123456789")
    words = ValueType("array", size=24, element=text_type(8), count=3)
    obj = make_object(
        (point("begin", "b"),),
        (
            EventFormat(1, "cat", 8 + 128, fields(text_type(128)), text="%s"),
            EventFormat(2, "join", 32, fields(words), args=(("delim", ","),)),
            EventFormat(3, "warnf", 8, text="careful"),
        ),
        settings=(("max_cat_bytes", 4),),
    )
    on_run = {
        "b": [
            record(1, str(path).encode().ljust(128, b"\0")),
            record(2, b"a".ljust(8, b"\0") + b"bc".ljust(16, b"\0")),
            record(3),
        ]
    }
    events, _ = run(obj, FakeTarget(on_run=on_run))
    assert [e.text for e in events[1:4]] == ["0123", "a,bc", "careful"]
    events, _ = run(obj, FakeTarget(on_run=on_run), warnings=False)
    assert [e.text for e in events[1:3]] == ["0123", "a,bc"] and isinstance(events[3], Ended)


def test_run_values_are_written_before_load():
    from osmia.objects import MapSpec

    obj = make_object((point("uprobe", "u"),), settings=(("run.child_pid", "ro+8"),))
    obj = obj.replace(maps=(*obj.maps, MapSpec("ro", 2, 4, 16, 1, contents=bytes(16))))
    target = FakeTarget()
    with Session(obj, target, cmd=["true"]) as session:
        session.start()
        ro = next(m for m in target.loaded.object.maps if m.name == "ro")
        assert int.from_bytes(ro.contents[8:], "little") == target.loaded.points[0].pid
        session.run()
