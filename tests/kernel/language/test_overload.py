"""Losses: every event that was made is either seen or counted as lost, and a full map says so."""

from __future__ import annotations

import json

import pytest
from _tracing import command, run

import osmia

MAKE = "tracepoint:syscalls:sys_enter_getpgid /pid == $1/"


def seen_and_lost(storm, script: str) -> tuple[int, int, int]:
    """(seen, lost, made) while counting records through the batch interface."""
    seen = 0
    with osmia.trace(script, str(storm.pid)) as trace:
        storm.release()
        while storm._process.poll() is None:
            seen += sum(trace.drain(0.05).values())
        made = storm.result()["getpgid"]
        while batch := sum(trace.drain(0.05).values()):
            seen += batch
        lost = trace.lost
    assert set(lost) <= {"tracepoint:syscalls:sys_enter_getpgid"}
    return seen, sum(lost.values()), made


@pytest.mark.slow
def test_five_million_events_balance(program) -> None:
    storm = program("storm.c", 2, 2_500_000)
    seen, lost, made = seen_and_lost(storm, f'{MAKE} {{ printf("%d %s\\n", args.pid, comm); }}')
    assert made == 5_000_000
    assert seen + lost == made
    assert seen > 0


def test_small_ring_balances_by_event_number(program) -> None:
    """Read as Python objects from a ring that is too small: those that are seen are right, and none comes twice."""
    storm = program("storm.c", 2, 100_000)
    outcome = run(
        f'config = {{ perf_rb_pages = 4 }} {MAKE} {{ printf("%d\\n", -(int32)args.pid - 1); }}', storm.pid, work=storm
    )
    numbers = [number for (number,) in outcome.records]
    assert len(numbers) + sum(outcome.lost.values()) == 200_000
    assert sum(outcome.lost.values()) > 0
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(range(200_000))
    assert outcome.talk.count("Lost ") > 0


def test_losses_stand_by_probe_and_in_the_output(program) -> None:
    """Two probes on the same calls: each has its own count. The command reports them on stderr, and as JSON."""
    storm = program("storm.c", 2, 50_000)
    outcome = run(
        f'config = {{ perf_rb_pages = 4 }} {MAKE} {{ printf("enter %d\\n", args.pid); }} '
        'tracepoint:syscalls:sys_exit_getpgid /pid == $1/ { printf("exit %d\\n", args.ret); }',
        storm.pid, work=storm,
    )  # fmt: skip
    made = {"enter": 0, "exit": 0}
    for line in outcome.lines:
        made[line.split()[0]] += 1
    for side, seen in made.items():
        assert seen + outcome.lost.get(f"tracepoint:syscalls:sys_{side}_getpgid", 0) == 100_000
    reported = [int(line.split()[1]) for line in outcome.talk.splitlines() if line.startswith("Lost ")]
    assert sum(reported) == sum(outcome.lost.values()) > 0


def test_nothing_is_lost_at_a_modest_rate(program) -> None:
    storm = program("storm.c", 1, 20_000, 40_000)
    outcome = run(f'{MAKE} {{ printf("%d\\n", -(int32)args.pid - 1); }}', storm.pid, work=storm)
    assert [number for (number,) in outcome.records] == list(range(20_000))
    assert outcome.lost == {} or sum(outcome.lost.values()) == 0


@pytest.mark.parametrize(
    "assign", ["@full[args.pid] = 1", "@full[args.pid] = count()", "@full[args.pid] = hist(args.pid)"]
)
def test_full_map_is_reported(program, assign: str) -> None:
    storm = program("storm.c", 1, 1000)
    outcome = run(f"config = {{ max_map_keys = 100 }} {MAKE} {{ {assign}; @all = count(); }}", storm.pid, work=storm)
    assert outcome.maps["@all"] == 1000
    assert len(outcome.maps["@full"]) == 100
    full = [text for text in outcome.messages if "@full" in text]
    assert len(full) == 1 and "900" in full[0]
    assert "@all" not in full[0].replace("@full", "")


def test_full_map_is_reported_by_the_command() -> None:
    done = command(
        "trace", "-q", "-e", "let @full = hash(3); BEGIN { for ($i : 0..10) { @full[$i] = $i; } }",
    )  # fmt: skip
    assert done.stdout.count("@full[") == 3
    assert "@full" in done.stderr and "7 updates" in done.stderr


def test_lost_events_as_json(compiled) -> None:
    path = compiled("storm.c")
    done = command(
        "trace", "-o", "json", "-c", f"sh -c 'echo | exec {path} 2 100000'", "-e",
        'config = { perf_rb_pages = 4 } tracepoint:syscalls:sys_enter_getpgid /comm == "storm"/ { printf("%d\\n", '
        'args.pid); }',
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"type"')]
    lost = sum(row["data"]["events"] for row in rows if row["type"] == "lost_events")
    seen = sum(row["type"] == "printf" for row in rows)
    assert seen + lost == 200_000 and lost > 0 and done.stderr == ""
