"""Nothing is lost silently: what the reader saw and what was counted as lost are what was produced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import osmia
from osmia.session import Lost, Message, Printf

pytestmark = pytest.mark.usefixtures("tracefs", "_cache")
CALLS = 30_000


@pytest.fixture
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSMIA_CACHE_DIR", str(tmp_path / "cache"))


def storm() -> None:
    for _ in range(CALLS):
        os.getppid()


def script(config: str = "") -> str:
    return f"""{config} tracepoint:syscalls:sys_enter_getppid /pid == {os.getpid()}/ {{
        @made = count(); printf("%llu %llu %llu\\n", nsecs, nsecs, nsecs);
    }}"""


def test_an_overload_is_counted_exactly() -> None:
    with osmia.trace(script("config = { perf_rb_pages = 16 }")) as t:
        storm()  # nobody reads meanwhile
        t.stop()
        events = list(t.events())
        made = t.maps["@made"].value
        seen = sum(isinstance(e, Printf) for e in events)
        lost = sum(t.lost.values())
    assert made >= CALLS
    assert lost > 0 and seen + lost == made
    reported = [e for e in events if isinstance(e, Lost)]
    assert sum(e.count for e in reported) == lost
    assert all(set(e.by_probe) == {"tracepoint:syscalls:sys_enter_getppid"} for e in reported)


def test_nothing_is_lost_when_there_is_room() -> None:
    with osmia.trace(script("config = { perf_rb_pages = 4096 }")) as t:
        storm()
        t.stop()
        events = list(t.events())
        made = t.maps["@made"].value
    assert sum(isinstance(e, Printf) for e in events) == made >= CALLS
    assert not any(isinstance(e, Lost) for e in events)


def test_counting_without_objects() -> None:
    with osmia.trace(script("config = { perf_rb_pages = 4096 }")) as t:
        storm()
        counts = t.drain(0.1)
        assert sum(counts.values()) == t.maps["@made"].value >= CALLS


def test_a_full_map_is_reported() -> None:
    with osmia.trace("let @a = hash(2); begin { @a[1] = 1; @a[2] = 1; @a[3] = 1; @a[4] = 1; }") as t:
        events = list(t.events())
        assert len(t.maps["@a"]) == 2
    (warning,) = [e for e in events if isinstance(e, Message)]
    assert warning.severity == "warning" and "@a lost 2 updates" in warning.text
