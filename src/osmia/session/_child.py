"""The command of `-c`: started at once, but held before its exec until probes are attached."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import os

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIGKILL, SIGTERM = 9, 15
ENDED = 1, 2, 3  # CLD_EXITED, CLD_KILLED, CLD_DUMPED
# Python ignores these, and what is ignored stays so across exec.
IGNORED = 13, 25  # SIGPIPE, SIGXFSZ
COERCED = "C.UTF-8", "C.utf8", "UTF-8"  # what Python takes for LC_CTYPE


class Child:
    """A forked process that waits on a pipe, and becomes `argv` on `release()`.

    Probes that are limited to `pid` see its exec, for the process is there before them. No ptrace: a traced child would
    stop on signals, and could not be traced by anybody else.

    Should this process be killed, SIGTERM ends the child too, provided that the main thread made it: the kernel watches
    the thread that forked, and any other thread may well end long before the child should.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self.status: int | None = None  # as of waitpid
        self._reaped = False
        path, environment = find_program(self.argv), given_environment()
        from ..syscalls import end_with_parent  # here: it is no time for imports between fork and exec

        tied = end_with_parent if _thread.get_native_id() == os.getpid() else None
        gate, self._gate = os.pipe()
        self._failure, report = os.pipe()
        self._pidfd = -1
        self.pid = os.fork()
        if not self.pid:
            _become(path, self.argv, environment, gate, self._gate, report, tied)
        os.close(gate)
        os.close(report)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._pidfd = -1  # Linux before 5.3, or forbidden by a sandbox: `poll` is asked instead

    def fileno(self) -> int:
        """A descriptor that is readable once the child has ended, or -1."""
        return self._pidfd

    def release(self) -> None:
        """Let the child run. Raises `UsageError` when its program cannot be executed."""
        if self._gate < 0:
            return
        os.write(self._gate, b"g")
        os.close(self._gate)
        self._gate = -1
        failed = os.read(self._failure, 16)
        os.close(self._failure)
        self._failure = -1
        if failed:
            raise UsageError(f"run {self.argv[0]!r}: {os.strerror(int(failed))}")

    def poll(self) -> bool:
        """Whether the child has ended; it stays a zombie until `close`.

        Only looked at, never waited for: a thread of ours that traces it waits for its stops and its end.
        """
        if self.status is None:
            try:
                seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                self.status = 0  # somebody else reaped it
                return True
            if seen is None or seen.si_code not in ENDED:
                return False
            self.status = seen.si_status << 8 if seen.si_code == ENDED[0] else seen.si_status
        return True

    def close(self) -> None:
        """End the child if it still runs: SIGTERM, SIGKILL after half a second."""
        if not self.poll():
            import time

            os.kill(self.pid, SIGTERM if self._gate < 0 else SIGKILL)
            deadline = time.monotonic() + 0.5
            while not self.poll() and time.monotonic() < deadline:
                time.sleep(0.005)
            if not self.poll():
                os.kill(self.pid, SIGKILL)
            while not self.poll():
                time.sleep(0.001)
        self._reap()
        for fd in (self._gate, self._failure, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._gate = self._failure = self._pidfd = -1

    def _reap(self) -> None:
        if not self._reaped:
            self._reaped = True
            try:
                os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return  # somebody else did

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def given_environment() -> dict[str, str]:
    """The environment of this process without what Python added: in the C locale it sets LC_CTYPE (PEP 538)."""
    environment = dict(os.environ)
    if environment.get("LC_CTYPE") in COERCED:
        try:
            with open("/proc/self/environ", "rb") as file:
                given = file.read().split(b"\0")
        except OSError:
            return environment
        if not any(entry.startswith(b"LC_CTYPE=") for entry in given):
            del environment["LC_CTYPE"]
    return environment


def _become(
    path: str,
    argv: list[str],
    environment: dict[str, str],
    gate: int,
    gate_writer: int,
    report: int,
    tied: Callable[[int], None] | None,
) -> None:
    """In the child: wait at the gate, then exec. Never returns."""
    try:
        os.close(gate_writer)
        if tied:
            tied(SIGTERM)  # before the gate, which shows whether the parent was gone already
        if os.read(gate, 1):
            for number in IGNORED:
                _signal.signal(number, _signal.SIG_DFL)
            try:
                os.execve(path, argv, environment)
            except OSError as e:
                os.write(report, str(e.errno).encode())
    finally:
        os._exit(127)


def find_program(argv: Sequence[str]) -> str:
    """The path of the program that `argv` names, looked up in PATH. Raises `UsageError`."""
    if not argv or not argv[0]:
        raise UsageError("run a command: it is empty")
    name = argv[0]
    if "/" in name:
        places = [name]
    else:
        places = [os.path.join(d or ".", name) for d in os.get_exec_path()]
    for path in places:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise UsageError(f"run {name!r}: path '{name}' does not exist or is not executable")
