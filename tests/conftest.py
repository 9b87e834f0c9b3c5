"""Fixtures for all tests. Tests are sorted by what they need:

tests/unit      nothing: no root, no network
tests/kernel    root and a kernel with BPF; every test is checked for leaks
tests/guest     root and QEMU: inside/ runs under booted kernels that have kprobes and fentry
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from _leaks import LeakCheck
from _workloads import MissingTool, Workload, build, start_activity

# What a shell starts in the background ignores these, and so would all that tests start.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

# The same examples in every run, unless more are asked for: what a new one finds is not the fault of the last change.
if "OSMIA_GUEST" not in os.environ:  # importing it takes eight seconds there
    from hypothesis import settings

    settings.register_profile("osmia", derandomize=not os.environ.get("OSMIA_EXPLORE"))
    settings.load_profile("osmia")

TRACEFS = Path("/sys/kernel/tracing")
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 0x40000


@pytest.fixture(scope="session")
def require_root() -> None:
    """Skip without root."""
    if os.geteuid():
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def tracefs(require_root: None) -> Path:
    """The folder of a mounted tracefs. Where the machine has none, one is mounted for the tests alone."""
    if (TRACEFS / "events").is_dir():
        return TRACEFS
    libc = ctypes.CDLL(None, use_errno=True)

    def check(what: str, result: int) -> None:
        if result:
            pytest.skip(f"no tracefs: {what} fails with {os.strerror(ctypes.get_errno())}")

    # A mount namespace of our own: the mount is gone when the last test process is.
    check("unshare(CLONE_NEWNS)", libc.unshare(CLONE_NEWNS))
    check("mount --make-rprivate /", libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    check("mount tracefs", libc.mount(b"tracefs", bytes(TRACEFS), b"tracefs", ctypes.c_ulong(0), None))
    return TRACEFS


@pytest.fixture
def leak_check() -> Iterator[None]:
    """Fail a test that leaves a file descriptor, a thread, or a BPF program, map or link behind."""
    before = LeakCheck()
    yield
    left = before.leftovers()
    assert not left, "left behind: " + "; ".join(left)


@pytest.fixture
def workload() -> Iterator[Callable[..., Workload]]:
    """`workload("opens", path, 100)`: a program of activity.py, waiting at its gate; killed after the test."""
    with ExitStack() as stack:
        yield lambda what, *args: stack.enter_context(start_activity(what, *args))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`compiled("calls.c", "-pie")`: the path of a C or C++ workload, built once; skips without a compiler."""
    ready = os.environ.get("OSMIA_TEST_PROGRAMS")  # compiled outside, for a guest
    folder = Path(ready) if ready else tmp_path_factory.mktemp("workloads")

    def path_of(name: str, *flags: str) -> Path:
        try:
            return build(name, folder, *flags)
        except MissingTool as missing:
            pytest.skip(str(missing))

    return path_of


@pytest.fixture
def program(compiled: Callable[..., Path]) -> Iterator[Callable[..., Workload]]:
    """`program("calls.c", 100)`: that workload compiled and started, waiting at its gate; killed after the test."""
    with ExitStack() as stack:
        yield lambda name, *args: stack.enter_context(Workload([str(compiled(name)), *map(str, args)]))
