"""Tests in inside/ run under booted kernels; this file makes each of them a test of the run that you started.

Outside, a test function of inside/ is never called: it becomes one `GuestTest` per kernel. The first one of a kernel
boots it once, runs all selected tests there with one pytest, and the others read their results. So `-k`, single
files and single tests work as anywhere else: `pytest tests/guest -k "6.12 and kprobe"` (and "not 6.12" for 6.1).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _kernel import PACKAGES, VmUnavailable
from _vm import GuestRun, run
from _workloads import MissingTool, build

INSIDE = Path(__file__).parent / "inside"
IN_GUEST = os.environ.get("OSMIA_GUEST", "")  # inside: the kernel series; outside: empty
REPORTS = "reports.jsonl"
TIMEOUT_S = 420
PRESETS = ("calls.c", "threads.c", "stacks.c", "storm.c")  # compiled outside: gcc takes seconds in a guest

_runs = pytest.StashKey[dict[str, "GuestResults | str"]]()


class GuestResults:
    """What the tests of one kernel gave: reports by test id, and the run itself for what gave no report."""

    def __init__(self, done: GuestRun, reports: Path) -> None:
        self._run = done
        lines = reports.read_text().splitlines() if reports.exists() else []
        self._reports: dict[str, list[dict[str, Any]]] = {}
        for line in lines:
            report = json.loads(line)
            self._reports.setdefault(report["id"], []).append(report)

    def apply(self, test_id: str) -> list[tuple[str, str]]:
        """Pass, skip or fail as the test did inside; returns what it printed, as (title, text)."""
        reports = self._reports.get(test_id, [])
        for report in reports:
            if report["outcome"] == "failed":
                sections = "".join(f"\n---- {title} ----\n{text}" for title, text in report["sections"])
                raise GuestFailure(f"{report['text']}{sections}")
        for report in reports:
            if report["outcome"] == "skipped":
                pytest.skip(report["text"])
        if not any(report["when"] == "teardown" for report in reports):
            raise GuestFailure(self._silence(test_id))
        return [section for report in reports for section in report["sections"]]

    def _silence(self, test_id: str) -> str:
        why = self._run.problem or f"pytest inside ended with status {self._run.status}"
        last = next(reversed(self._reports), "none")
        tails = (("output", self._run.stdout), ("errors", self._run.stderr), ("console", self._run.console))
        return f"no result of {test_id}: {why}; last report: {last}" + "".join(
            f"\n---- {title} ----\n{text[-3000:]}" for title, text in tails if text
        )


class GuestFailure(Exception):
    """A test failed inside; the message is the whole report."""


class GuestTest(pytest.Item):
    """One test of inside/ under one kernel."""

    def __init__(self, *, inside_id: str, kernel: str, **kw: Any) -> None:
        super().__init__(**kw)
        self.inside_id = inside_id
        self.kernel = kernel
        self.add_marker(pytest.mark.guest)

    def runtest(self) -> None:
        runs = self.config.stash.setdefault(_runs, {})
        if self.kernel not in runs:
            same = [i for i in self.session.items if isinstance(i, GuestTest) and i.kernel == self.kernel]
            try:
                runs[self.kernel] = _boot_and_test(self.kernel, [i.inside_id for i in same], self._folder())
            except VmUnavailable as e:
                runs[self.kernel] = str(e)
        results = runs[self.kernel]
        if isinstance(results, GuestResults):
            for title, text in results.apply(self.inside_id):
                self.add_report_section("call", title.removeprefix("Captured ").removesuffix(" call"), text)
        elif os.environ.get("OSMIA_REQUIRE_GUEST"):  # in CI, where a skip would hide that nothing ran
            raise GuestFailure(f"cannot run guests: {results}")
        else:
            pytest.skip(results)

    def _folder(self) -> Path:
        factory: pytest.TempPathFactory = self.config._tmp_path_factory  # type: ignore[attr-defined]
        return factory.mktemp(f"guest-{self.kernel}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, GuestFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


def _boot_and_test(kernel: str, tests: list[str], shared: Path) -> GuestResults:
    """Run the tests in one pytest under that kernel."""
    for name in PRESETS:
        try:
            build(name, shared)
        except MissingTool:
            break  # the tests that need them skip with the reason
    _build_portable(shared / "portable.bpf.o")
    _compile_python_files()
    # The guest's writes vanish, so it must find all .pyc files made, and not make them again for every process.
    # No plugins: hypothesis alone takes eight seconds to import there.
    env = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
        "OSMIA_GUEST": kernel, "OSMIA_GUEST_SHARED": str(shared), "OSMIA_TEST_PROGRAMS": str(shared),
    }  # fmt: skip
    env |= {k: os.environ[k] for k in ("PYTHONPATH", "VIRTUAL_ENV") if k in os.environ}
    options = ["-p", "no:cacheprovider", "-o", "faulthandler_timeout=90", "--basetemp=/tmp/osmia-guest", "-v"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    return GuestResults(run(command, kernel=kernel, shared=shared, env=env, timeout=TIMEOUT_S), shared / REPORTS)


# What inside/test_portable.py runs: built by the host, against the host's kernel.
PORTABLE = """tracepoint:syscalls:sys_enter_openat /comm == "osmia-work"/ {
  $t = (struct task_struct *)curtask;
  printf("%d %d %d %s %d %s %s %d\\n", $t->pid, $t->tgid, $t->real_parent->tgid, $t->real_parent->comm, ppid, pcomm,
    $t->group_leader->comm, $t->cred->uid.val);
}"""


def _build_portable(path: Path) -> None:
    command = [sys.executable, "-m", "osmia", "build", "--portable", "-o", str(path), "-e", PORTABLE]
    subprocess.run(command, check=os.path.exists("/sys/kernel/btf/vmlinux"), timeout=60)


def _compile_python_files() -> None:
    folders = [str(Path(__file__).parents[1])]
    for package in ("osmia", "llvmlite"):
        spec = importlib.util.find_spec(package)
        folders += list(spec.submodule_search_locations or []) if spec else []
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=False, capture_output=True)


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not IN_GUEST:
        items[:] = [new for item in items for new in _outside(item)]


def _outside(item: pytest.Item) -> Iterator[pytest.Item]:
    if not item.path.is_relative_to(INSIDE):
        yield item
        return
    assert item.parent is not None
    for kernel in PACKAGES:
        name = f"{item.name[:-1]}-{kernel}]" if item.name.endswith("]") else f"{item.name}[{kernel}]"
        yield GuestTest.from_parent(item.parent, name=name, inside_id=item.nodeid, kernel=kernel)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Inside: write each report where the host can read it at once."""
    if not IN_GUEST:
        return
    skipped = isinstance(report.longrepr, tuple)
    text = report.longrepr[2].removeprefix("Skipped: ") if skipped else report.longreprtext
    line = {"id": report.nodeid, "when": report.when, "outcome": report.outcome, "text": text,
            "sections": report.sections if report.when == "teardown" or report.failed else []}  # fmt: skip
    with Path(os.environ["OSMIA_GUEST_SHARED"], REPORTS).open("a") as out:
        out.write(json.dumps(line) + "\n")
