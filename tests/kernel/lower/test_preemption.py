"""Programs of user probes may be preempted by another task on the same CPU: their large values must not mix."""

from __future__ import annotations

from collections import Counter

import osmia
from osmia.syscalls import possible_cpus

THREADS, STEPS = 8, 20_000
# The text lives in scratch memory; the loop keeps the program there for a while between building and using it.
SCRIPT = (
    'uprobe:{path}:step {{ $s = str_concat(comm, "-is-one-of-eight-threads-of-this-test"); $t = ($s, arg0, (uint8)7); '
    "for ($i : 0..300) {{ $x = $i; }} @[$t] = count(); @text[$s, arg0] = count(); @all = count(); }}"
)


def wanted(events: int) -> dict[tuple[str, int, int], int]:
    return {(f"worker-{i}-is-one-of-eight-threads-of-this-test", i, 7): events for i in range(THREADS)}


def test_keys_of_concurrent_threads(program, compiled) -> None:
    work = program("threads.c", THREADS, STEPS)
    obj = osmia.compile(SCRIPT.format(path=compiled("threads.c")), cache=False)
    with osmia.trace(obj, duration=60) as trace:
        work.finish()
        trace.stop()
        trace.wait()
        maps = {name: view.value if view.scalar else dict(view.items()) for name, view in trace.maps.items()}
        lost = sum(trace.lost.values())
    assert set(maps["@"]) == set(wanted(0))
    assert Counter(maps["@"]) == Counter({(text, number, 7): n for (text, number), n in maps["@text"].items()})
    assert maps["@all"] + lost == THREADS * STEPS
    assert sum(maps["@"].values()) == maps["@all"]
    if not lost:
        assert maps["@"] == wanted(STEPS)


def test_runs_without_a_free_element_are_counted(program, compiled) -> None:
    """With every element claimed each run is a loss; with all but the last one free again, none is."""
    obj = osmia.compile(SCRIPT.format(path=compiled("threads.c")), cache=False)
    scratch = next(m for m in obj.maps if m.name == "scratch")
    assert scratch.max_entries > 1

    def run(claimed: int) -> tuple[int, int]:
        work = program("threads.c", THREADS, 100)
        with osmia.load(obj) as loaded:
            taken = (b"\1" + bytes(scratch.value_size - 1)) * possible_cpus()
            for element in range(claimed):
                loaded.maps["scratch"].update(element.to_bytes(4, "little"), taken)
            links = [loaded.attach(point) for point in obj.attach_points]
            work.finish()
            for link in links:
                link.close()
            zero = bytes(4)
            losses = loaded.maps[obj.loss].lookup(zero) or b""
            seen = loaded.maps["AT_all"].lookup(zero) or b""
            count = sum(int.from_bytes(seen[i : i + 8], "little") for i in range(0, len(seen), 8))
            lost = sum(int.from_bytes(losses[i : i + 8], "little") for i in range(0, len(losses), 8))
            for element in range(claimed, scratch.max_entries):
                left = loaded.maps["scratch"].lookup(element.to_bytes(4, "little")) or b""
                size = (scratch.value_size + 7) & ~7
                assert not any(left[i] for i in range(0, len(left), size)), "an element is still claimed"
        return count, lost

    assert run(scratch.max_entries) == (0, THREADS * 100)
    count, lost = run(scratch.max_entries - 1)
    assert count + lost == THREADS * 100
    assert count > 0
    assert run(0) == (THREADS * 100, 0)
