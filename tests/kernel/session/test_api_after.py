"""Before the `with` block, after it, and with the wrong arguments: no hang, no wrong value, no error of the inside."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import osmia
from osmia.errors import SourceError, UsageError
from osmia.session import Ended, Histogram, MapSnapshot, Printf, Stack, Stats

pytestmark = pytest.mark.usefixtures("tracefs", "_cache")

MANY = 200_000


@pytest.fixture
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSMIA_CACHE_DIR", str(tmp_path / "cache"))


async def _iterate(t: osmia.Trace) -> None:
    async for _ in t:
        pass


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t.wait(),
        lambda t: t.events(),
        lambda t: t.poll(0),
        lambda t: t.drain(),
        lambda t: t.maps,
        lambda t: asyncio.run(_iterate(t)),
    ],
    ids=["wait", "events", "poll", "drain", "maps", "async for"],
)
def test_what_was_not_started_says_so(use: Callable[[osmia.Trace], Any]) -> None:
    t = osmia.trace("begin { @ = 1 }")
    assert not t.running
    with pytest.raises(UsageError, match=r"with osmia\.trace"):
        use(t)
    with t:
        assert t.wait() == 0


def test_a_trace_is_used_once() -> None:
    t = osmia.trace("interval:s:100 { @ = 1 }")
    with t:
        with pytest.raises(UsageError, match="already"), t:
            pass
        assert t.running
    for _ in range(2):
        with pytest.raises(UsageError, match="ended"), t:
            pass
        with pytest.raises(UsageError, match="ended"):
            t.start()


def test_a_block_that_was_left_early_is_over() -> None:
    with osmia.trace('begin { printf("x"); @ = 5 } interval:s:100 { @ = 1 }') as t:
        t.poll(0)
    assert not t.running and t.wait() == 0 and list(t.events()) == [] and t.poll(0) == [] and t.drain() == {}
    assert t.maps["@"].value == 5
    t.close()
    assert t.maps["@"].value == 5


def test_maps_and_losses_stay_as_they_were() -> None:
    script = """
    begin {
        @ = 5; @unset = 1; delete(@unset); @text = "hello"; @by["a", 1] = 10; @c["x"] = count(); @h = hist(5);
        @s = stats(4); @array = sum(7); @series = tseries(4, 1s, 5);
        exit(7);
    }"""
    with osmia.trace(script) as t:
        t.wait()
        inside = {name: view.value if view.scalar else dict(view) for name, view in t.maps.items()}
        shown = repr(t.maps)
    after = {name: view.value if view.scalar else dict(view) for name, view in t.maps.items()}
    assert after == inside and repr(t.maps) == shown
    assert after["@"] == 5 and after["@unset"] is None and after["@by"] == {("a", 1): 10} and after["@c"] == {"x": 1}
    assert after["@s"] == Stats(1, 4, 4) and isinstance(after["@h"], Histogram) and after["@array"] == 7
    assert t.maps["@by"]["a", 1] == 10 and ("b", 1) not in t.maps["@by"] and len(t.maps["@by"]) == 1
    assert list(t.maps["@by"].snapshot().entries()) == [(("a", 1), 10)]
    assert t.lost == {} and t.status == 7
    with pytest.raises(UsageError, match="has ended"):
        t.maps["@by"].clear()
    with pytest.raises(KeyError, match="@by"):
        t.maps["by"]


def test_a_large_map_stays_whole() -> None:
    script = f"""let @ = hash({MANY});
    begin {{ for $i : 0..{MANY} {{ @[$i] = $i * 3 }} }}"""
    with osmia.trace(script) as t:
        t.wait()
    kept = dict(t.maps["@"])
    assert len(kept) == MANY and all(value == 3 * key for key, value in kept.items())
    assert t.maps["@"][77] == 231 and MANY not in t.maps["@"]


def test_losses_are_known_afterwards() -> None:
    script = 'begin { for $i : 0..100000 { printf("%s", "0123456789012345678901234567890123456789") } }'
    with osmia.trace("config = { perf_rb_pages = 1 } " + script) as t:
        seen = sum(isinstance(event, Printf) for event in t.events())
        inside = t.lost
    assert inside and t.lost == inside
    assert seen + sum(t.lost.values()) == 100_000


def test_stacks_keep_their_names() -> None:
    script = """begin { @k[kstack] = 1; print(kstack) }
    tracepoint:syscalls:sys_enter_getuid /pid == $1/ { @u[ustack] = count(); printf("%s", ustack) }"""
    with osmia.trace(script, os.getpid(), duration=20) as t:
        events = t.poll(0)
        os.getuid()
        t.stop()
        t.wait()
        held = dict(t.maps["@u"])
    events += t.events()
    (kernel,) = t.maps["@k"]
    assert any("bpf_prog_" in frame and "begin" in frame for frame in kernel.frames)
    (user,) = t.maps["@u"]
    assert user in held and any("getuid" in frame for frame in user.frames)
    (said,) = [event.args[0] for event in events if isinstance(event, Printf)]
    assert isinstance(said, Stack) and any("getuid" in frame for frame in said.frames)
    last = {event.name: event.value for event in events if isinstance(event, MapSnapshot)}
    assert set(last["@k"]) == {kernel} and last["@u"] == {user: 1}


def test_events_can_be_pickled() -> None:
    script = """begin { for $i : 0..500 { printf("%d %s", $i, comm) }
        printf("%s", kstack); print((id=7, name="x")); @h = hist(5); @k[kstack] = 1; errorf("no"); exit(3) }"""
    with osmia.trace(script) as t:
        events = list(t.events())
    assert {type(event).__name__ for event in events if isinstance(event, Printf)} == {"Printf"}
    copies = pickle.loads(pickle.dumps(events))
    assert [repr(event) for event in copies] == [repr(event) for event in events]
    record = next(event.value for event in copies if type(event).__name__ == "Print")
    assert record.name == "x" and record.asdict() == {"id": 7, "name": "x"}
    assert next(event.status for event in copies if isinstance(event, Ended)) == 3


def test_a_keyed_map_has_no_value_and_a_scalar_one_no_keys() -> None:
    with osmia.trace("begin { @[1] = 7; @[2] = 8; @n = 3; exit() }") as t:
        t.wait()
        with pytest.raises(UsageError, match="it has keys"):
            _ = t.maps["@"].value
        for read in (dict, list, lambda m: m.items(), lambda m: m.keys(), lambda m: m.values(), lambda m: m[1]):
            with pytest.raises(UsageError, match=r"it has none \(its value is \.value\)"):
                read(t.maps["@n"])
        assert t.maps["@n"].value == 3 and dict(t.maps["@"]) == {1: 7, 2: 8}


def test_numbers_are_parameters() -> None:
    script = 'begin { printf("%d %s %d", $1, str($2), getopt("n", 1)); exit() }'
    with osmia.trace(script, -5, "x", options={"n": 41}) as t:
        assert [event.text for event in t.events() if isinstance(event, Printf)] == ["-5 x 41"]


def test_a_script_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.bt"
    path.write_text('#!/usr/bin/env osmia\nbegin { printf("%d", $1); exit() }\n')
    with osmia.trace(path, 7) as t:
        assert [event.text for event in t.events() if isinstance(event, Printf)] == ["7"]
    path.write_text("begin { honey }")
    with pytest.raises(SourceError) as caught:
        osmia.compile(path)
    assert caught.value.diagnostics[0].file == str(path)
    for content, name in ((b"\x7fELF\0", "x.bt"), (b"", "no.bt")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=name):
            osmia.trace(tmp_path / name)


@pytest.mark.parametrize(
    "call",
    [
        lambda: osmia.trace(None),  # type: ignore[arg-type]
        lambda: osmia.trace(5),  # type: ignore[arg-type]
        lambda: osmia.trace(b"begin { }"),  # type: ignore[arg-type]
        lambda: osmia.trace("begin { print($1) }", None),  # type: ignore[arg-type]
        lambda: osmia.trace("begin { print($1) }", True),
        lambda: osmia.trace("begin { print($1) }", 1.5),  # type: ignore[arg-type]
        lambda: osmia.compile("begin { print($1) }", params="12"),
        lambda: osmia.trace("begin { }", duration=-1),
        lambda: osmia.trace("begin { }", duration=float("nan")),
        lambda: osmia.trace("begin { }", duration="3"),  # type: ignore[arg-type]
        lambda: osmia.trace("begin { }", cmd=[]),
        lambda: osmia.trace("begin { }", cmd=" "),
        lambda: osmia.trace("begin { }", pid=0),
        lambda: osmia.trace(osmia.compile("begin { }"), 7),
        lambda: osmia.load(5),  # type: ignore[arg-type]
        lambda: osmia.load("/no/such/file.o"),
    ],
)
def test_wrong_arguments_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        call()


def test_what_is_closed_says_so() -> None:
    with osmia.load(osmia.compile("begin { @[1] = 1 }")) as loaded:
        assert loaded.programs and loaded.maps
    for part in (*loaded.programs.values(), *loaded.maps.values()):
        with pytest.raises(UsageError, match="it is closed"):
            _ = part.fd
        part.close()
        assert repr(part)
