"""What the providers are called, and the events that the perf subsystem defines by number."""

from __future__ import annotations

# Short and old names. `kfunc`/`kretfunc` were the names of fentry/fexit before they clashed with BPF kernel functions.
ALIASES = {
    "k": "kprobe",
    "kr": "kretprobe",
    "f": "fentry",
    "fr": "fexit",
    "kfunc": "fentry",
    "kretfunc": "fexit",
    "u": "uprobe",
    "ur": "uretprobe",
    "U": "usdt",
    "t": "tracepoint",
    "rt": "rawtracepoint",
    "p": "profile",
    "i": "interval",
    "s": "software",
    "h": "hardware",
    "w": "watchpoint",
    "aw": "asyncwatchpoint",
    "it": "iter",
    "BEGIN": "begin",
    "END": "end",
}

PROVIDERS = (
    "begin", "end", "self", "test", "bench", "interval", "profile", "tracepoint", "rawtracepoint", "kprobe",
    "kretprobe", "fentry", "fexit", "uprobe", "uretprobe", "usdt", "software", "hardware", "iter", "watchpoint",
    "asyncwatchpoint",
)  # fmt: skip

# What a wildcard in the provider's place may stand for: return probes, timers and watchpoints would only repeat others.
KERNEL_PROVIDERS = ("fentry", "hardware", "iter", "kprobe", "rawtracepoint", "software", "tracepoint")
USER_PROVIDERS = ("uprobe", "usdt")

# Nanoseconds in a unit; "hz" is a rate.
UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1, "hz": 0}


def _events(table: str) -> dict[str, tuple[str, int, int]]:
    """Lines "name[/alias] number count" -> {name or alias: (name, PERF_COUNT_* number, count when none is given)}."""
    events = {}
    for line in table.strip().splitlines():
        names, number, count = line.split()
        name = names.split("/")[0]
        for each in names.split("/"):
            events[each] = (name, int(number), int(count))
    return events


# Numbers are enum perf_sw_ids of linux/perf_event.h.
SOFTWARE = _events("""
cpu-clock/cpu 0 1000000
task-clock 1 1000000
page-faults/faults 2 100
context-switches/cs 3 1000
cpu-migrations 4 1
minor-faults 5 100
major-faults 6 1
alignment-faults 7 1
emulation-faults 8 1
dummy 9 1
bpf-output 10 1
""")

# Numbers are enum perf_hw_id.
HARDWARE = _events("""
cpu-cycles/cycles 0 1000000
instructions 1 1000000
cache-references 2 1000000
cache-misses 3 1000000
branch-instructions/branches 4 100000
branch-misses 5 100000
bus-cycles 6 100000
frontend-stalls 7 1000000
backend-stalls 8 1000000
ref-cycles 9 1000000
""")

SIGNALS = ("SIGUSR1",)  # that `self:signal:` can wait for

WATCHPOINT_LENGTHS = (1, 2, 4, 8)
WATCHPOINT_MODES = {"x86_64": ("rw", "w", "x"), "aarch64": ("r", "rw", "w", "x")}  # x86 cannot break on reads alone


def closest(name: str, names: object, limit: int = 3) -> tuple[str, ...]:
    """The names most like `name`, best first, for "did you mean"."""
    import difflib

    pool = list(names)  # type: ignore[call-overload]
    if len(pool) > 5000:
        # difflib takes seconds over all kernel functions: only those that share a beginning or an end are candidates.
        head, tail = name[:4], name[-5:]
        pool = [n for n in pool if n.startswith(head) or n.endswith(tail)][:3000]
    like = difflib.get_close_matches(name, pool, limit, 0.7)
    if not like and len(name) > 2:
        # The beginning of a few: what was typed so far.
        begun = [n for n in pool if n.startswith(name)]
        like = sorted(begun)[:limit] if len(begun) <= 2 * limit else []
    return tuple(like)
