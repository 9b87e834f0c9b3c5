"""Too many probes, files, keys: an error that says which limit, or the limit does not matter."""

from __future__ import annotations

import pytest
from _environment import Place, refused

COUNT = "tracepoint:syscalls:sys_enter_getppid { @[pid] = count(); }"


def test_many_probes(place: Place) -> None:
    done = place.trace("tracepoint:*:* { @ = count(); }")
    assert (done.returncode, done.stdout) == (1, "")
    assert "exceeds the current limit of 1024 probes" in done.stderr and "BPFTRACE_MAX_PROBES" in done.stderr


def test_many_programs_at_one_place(place: Place) -> None:
    script = " ".join(
        "tracepoint:syscalls:sys_enter_getppid { @%d = count(); }".replace("@%d", f"@a{i}") for i in range(70)
    )
    text = refused(place.trace(script))
    assert "attach tracepoint:syscalls:sys_enter_getppid: too many programs at this place (64 a tracepoint)" in text
    assert "bpftool perf list" in text


@pytest.mark.parametrize("files", [64, 8])
def test_few_files(place: Place, files: int) -> None:
    script = "tracepoint:syscalls:sys_enter_get* { @ = count(); }" if files == 64 else COUNT
    text = refused(place.trace(script, limits={"RLIMIT_NOFILE": files}))
    assert "too many open files" in text and "hint: raise the limit: ulimit -n 65536" in text


def test_the_soft_limit_of_files_is_raised(place: Place) -> None:
    script = "tracepoint:syscalls:sys_enter_get* { @ = count(); }"
    wrap = ["/bin/sh", "-c", 'ulimit -S -n 32; exec "$@"', "sh"]
    assert place.trace(script, wrap=wrap).returncode == 0


def test_no_locked_memory(place: Place) -> None:
    """Since 5.11 maps count against the cgroup; before, the limit is lifted."""
    how = {"limits": {"RLIMIT_MEMLOCK": 0}}
    assert place.trace(COUNT, **how).returncode == 0
    assert place.trace(COUNT, **how, keep=["CAP_BPF", "CAP_PERFMON"]).returncode == 0


@pytest.mark.parametrize("keys", [500_000_000, 4_000_000_000])
def test_huge_maps(place: Place, keys: int) -> None:
    script = f"config = {{ max_map_keys = {keys} }} begin {{ @reads[pid, comm] = count(); }}"
    text = refused(place.trace(script))
    assert f"create map @reads: {keys} entries are too many" in text or "create map @reads: not enough memory" in text
    assert "hint: lower the config max_map_keys, or declare its size: let @reads = hash(1000)" in text


@pytest.mark.parametrize("value", ["0", "-1", "400000000000"])
def test_sizes_that_are_none(place: Place, value: str) -> None:
    done = place.trace(f"config = {{ max_map_keys = {value} }} begin {{ @[pid] = count(); }}")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("stdin:1:")


def test_rates(place: Place) -> None:
    text = refused(place.trace("profile:hz:99999999 { @ = count(); }"))
    assert "no event at this rate" in text and "kernel.perf_event_max_sample_rate" in text
