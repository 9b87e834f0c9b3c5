"""pytest plugin: the fixture `osmia_vm`, and coverage of BPF programs over a whole test run.

    def test_counts(osmia_vm):
        vm = osmia_vm("tracepoint:syscalls:sys_enter_close { @ = count(); }")
        vm.fire("tracepoint:syscalls:sys_enter_close", {"fd": 3})
        assert vm.maps["@"].value == 1

`pytest --osmia-coverage DIR` writes DIR/lcov.info and DIR/index.html.
"""

from __future__ import annotations

import os

import pytest

from ..errors import OsmiaError, UsageError
from ._tracebacks import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from . import Vm


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--osmia-coverage DIR`."""
    parser.getgroup("osmia").addoption(
        "--osmia-coverage", metavar="DIR", default="", help="write coverage of BPF programs: DIR/lcov.info, index.html"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a folder that cannot be written to, before tests run."""
    folder = config.getoption("--osmia-coverage", "")
    if not folder or hasattr(config, "workerinput"):
        return
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as e:
        raise pytest.UsageError(
            f"write BPF coverage to {folder}: {str(e.strerror).lower()} (--osmia-coverage)"
        ) from None
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("BPF coverage is collected in one process: --osmia-coverage does not go with -n")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise pytest.UsageError(f"write BPF coverage to {folder}: permission denied (--osmia-coverage)")

    from ._vm import collectors

    def collect(vm: Vm) -> None:
        if vm.counts_coverage:
            _collected(config).merge(vm.coverage)

    collectors.append(collect)
    config.add_cleanup(lambda: collectors.remove(collect))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """What Osmia refuses is shown at the line of the test; `--full-trace` shows where it was noticed."""
    return (yield from _at_the_test(pyfuncitem.config))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same for fixtures of the test's own."""
    return (yield from _at_the_test(request.config))


def _at_the_test(config: pytest.Config) -> Iterator[None]:
    try:
        return (yield)
    except OsmiaError as error:
        if not config.getoption("fulltrace", False):
            cut(error, f"{config.rootpath}{os.sep}")
        raise


@pytest.fixture
def osmia_vm() -> Iterator[Callable[..., Vm]]:
    """Makes `osmia.testing.Vm` objects, and closes them when the test is over."""
    from . import Vm

    made: list[Vm] = []

    def make(source: Any, **options: Any) -> Vm:
        vm = Vm(source, **options)
        made.append(vm)
        return vm

    yield make
    for vm in reversed(made):
        vm.close()


_KEY: pytest.StashKey[Any] = pytest.StashKey()


def _collected(config: pytest.Config) -> Any:
    from ..vm import Coverage

    return config.stash.setdefault(_KEY, Coverage())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was collected."""
    folder = session.config.getoption("--osmia-coverage", "")
    if not folder or hasattr(session.config, "workerinput"):
        return
    coverage = _collected(session.config)
    try:
        coverage.write(folder)
    except (OSError, UsageError) as e:
        cause = e.strerror if isinstance(e, OSError) else e
        raise pytest.UsageError(f"write BPF coverage to {folder}: {cause} (--osmia-coverage)") from None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line with the share of lines and instructions."""
    folder = config.getoption("--osmia-coverage", "")
    if folder:
        found = _collected(config)
        if not found.programs:
            terminalreporter.write_line(f"BPF coverage: no program was counted: {folder}")
            return
        terminalreporter.write_line(
            f"BPF coverage: {found.line_rate:.1%} of lines, {found.instruction_rate:.1%} of instructions: {folder}"
        )
