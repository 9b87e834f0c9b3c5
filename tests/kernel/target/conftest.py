"""Every test here runs as root on the running kernel and must leave nothing in it."""

from __future__ import annotations

import gc
import os
import time

import pytest

from osmia import syscalls


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def open_fds() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except OSError:
            continue  # the fd of the listing itself
    return found


def mappings() -> int:
    with open("/proc/self/maps") as file:
        return sum("bpf" in line or "perf" in line for line in file)


@pytest.fixture(autouse=True)
def nothing_left():
    """Fds and mappings of this process are the same before and after the test."""
    syscalls.tracefs()  # holds one fd for good
    before, mapped = open_fds(), mappings()
    yield
    gc.collect()
    assert open_fds() == before
    assert mappings() == mapped


def wait_until(what, timeout: float = 5.0):
    """Poll until `what()` is true."""
    end = time.monotonic() + timeout
    while not (value := what()):
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)
    return value
