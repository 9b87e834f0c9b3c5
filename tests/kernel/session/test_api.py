"""The library on the real kernel: scripts in, Python objects out."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

import osmia
from osmia.errors import AttachError, OsmiaError, SourceError, UsageError
from osmia.session import Attached, Ended, Histogram, MapSnapshot, Print, Printf, Stack, Stats

pytestmark = pytest.mark.usefixtures("tracefs", "_cache")


@pytest.fixture
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSMIA_CACHE_DIR", str(tmp_path / "cache"))


def test_values_become_python_objects() -> None:
    script = """
    begin {
        printf("%d %s\\n", 7, "seven");
        print((1, "two", true));
        @n = 5;
        @text = "hello";
        @["a", 1] = 10;
        @c["x"] = count();
        @h = hist(5);
        @l = lhist(5, 0, 10, 5);
        @s = stats(4);
        @k[kstack] = 1;
    }"""
    with osmia.trace(script) as t:
        events = list(t.events())
        maps = t.maps
        assert maps["@n"].value == 5
        assert maps["@text"].value == "hello"
        assert maps["@"]["a", 1] == 10
        assert dict(maps["@c"].items()) == {"x": 1}
        assert isinstance(maps["@h"].value, Histogram) and maps["@h"].value.buckets == ((4, 8, 1),)
        assert maps["@l"].value.buckets == ((5, 10, 1),)
        assert maps["@s"].value == Stats(1, 4, 4)
        (stack,) = maps["@k"]
        assert isinstance(stack, Stack) and any("bpf" in frame for frame in stack.frames)
        assert t.status == 0 and not t.running and t.lost == {}
    printed = next(e for e in events if isinstance(e, Printf))
    assert printed.args == (7, "seven") and printed.text == "7 seven\n"
    assert next(e for e in events if isinstance(e, Print)).value == (1, "two", True)
    assert isinstance(events[0], Attached)
    end = next(i for i, e in enumerate(events) if isinstance(e, Ended))
    assert all(isinstance(e, MapSnapshot) for e in events[end + 1 :])
    assert {e.name for e in events[end + 1 :]} == set(maps)


def test_events_stream_until_the_script_exits() -> None:
    with osmia.trace('interval:ms:20 { @++; printf("%d", @); if (@ == 3) { exit(9); } }') as t:
        texts = [e.text for e in t.events() if isinstance(e, Printf)]
        assert texts == ["1", "2", "3"]
        assert t.status == 9


def test_events_with_a_timeout_return() -> None:
    with osmia.trace("interval:s:100 { @ = 1; }") as t:
        begin = time.monotonic()
        assert [type(e) for e in t.events(timeout=0.2)] == [Attached]
        assert time.monotonic() - begin < 1
        assert t.running


def test_async_iteration_and_stop() -> None:
    async def collect() -> list[str]:
        texts = []
        async with osmia.trace('interval:ms:20 { printf("x"); }') as t:
            async for event in t:
                if isinstance(event, Printf):
                    texts.append(event.text)
                if len(texts) == 3:
                    t.stop()
        return texts

    assert asyncio.run(asyncio.wait_for(collect(), 10))[:3] == ["x"] * 3


def test_a_command_is_traced_from_its_exec_on() -> None:
    script = """tracepoint:syscalls:sys_enter_execve /pid == cpid/ { printf("%s", str(args.filename)); }
                tracepoint:sched:sched_process_exit /pid == cpid/ { @gone = 1; }"""
    with osmia.trace(script, cmd=["/bin/true"]) as t:
        texts = [e.text for e in t.events() if isinstance(e, Printf)]
        assert texts[0] == "/bin/true"
        assert t.maps["@gone"].value == 1


def test_the_death_of_a_process_ends_its_trace(workload) -> None:  # type: ignore[no-untyped-def]
    pid = os.fork()
    if not pid:
        time.sleep(0.2)
        os._exit(0)
    try:
        with osmia.trace("interval:s:100 { @ = 1; }", pid=pid) as t:
            begin = time.monotonic()
            list(t.events())
            assert time.monotonic() - begin < 2
    finally:
        os.waitpid(pid, 0)


def test_parameters_options_duration() -> None:
    script = 'begin { printf("%d %s %s", $1, str($2), getopt("name", "none")); } interval:s:100 { }'
    begin = time.monotonic()
    with osmia.trace(script, "3", "four", options={"name": "five"}, duration=0.2) as t:
        assert [e.text for e in t.events() if isinstance(e, Printf)] == ["3 four five"]
    assert time.monotonic() - begin < 3


def test_on_event_gets_each_event() -> None:
    seen: list[object] = []
    with osmia.trace('begin { printf("x"); }', on_event=seen.append) as t:
        assert t.wait() == 0
    assert [type(e) for e in seen] == [Attached, Printf, Ended]


def test_errors_leave_nothing_behind() -> None:
    with pytest.raises(SourceError):
        osmia.compile("begin { ")
    with pytest.raises(OsmiaError):
        osmia.trace("tracepoint:no_such:thing { }")
    with pytest.raises(UsageError), osmia.trace("begin { }", cmd="no-such-command-here") as _t:
        pass
    with pytest.raises(AttachError, match="--test"), osmia.trace("test:a { return 0; }") as _t:
        pass


def test_compile_then_trace_the_object() -> None:
    obj = osmia.compile('begin { printf("hi"); }')
    for _ in range(2):
        with osmia.trace(obj) as t:
            assert [e.text for e in t.events() if isinstance(e, Printf)] == ["hi"]
    with osmia.load(obj) as loaded:
        assert set(loaded.programs) == {p.name for p in obj.programs}


def test_the_cache_is_used_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    osmia.compile("begin { @ = 1; }")
    import osmia.lang.bpftrace as lang

    def refuse(*_args: object, **_options: object) -> None:
        raise RuntimeError("compiled again")

    monkeypatch.setattr(lang, "compile_script", refuse)
    assert osmia.compile("begin { @ = 1; }").programs
    with pytest.raises(RuntimeError):
        osmia.compile("begin { @ = 2; }")
    with pytest.raises(RuntimeError):
        osmia.compile("begin { @ = 1; }", cache=False)
    monkeypatch.setenv("BPFTRACE_MAX_STRLEN", "32")
    with pytest.raises(RuntimeError):
        osmia.compile("begin { @ = 1; }")


def test_stop_from_another_thread() -> None:
    with osmia.trace("interval:s:100 { @ = 1; }") as t:
        timer = threading.Timer(0.1, t.stop)
        timer.start()
        begin = time.monotonic()
        t.wait()
        assert time.monotonic() - begin < 1.5
        timer.join()
