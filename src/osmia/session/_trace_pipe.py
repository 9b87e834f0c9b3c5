"""The kernel's trace_pipe: what programs write with bpf_trace_printk()."""

from __future__ import annotations

import os

from ..errors import PermissionDenied, UsageError
from ..syscalls import tracefs
from ._events import Event, Message, TraceLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Documentation/trace/ftrace.rst: task-pid, tgid where that option is on, CPU, flags, time, function, text.
_LINE = r"\s*(.+?)-(\d+)\s+(?:\(\s*[-\d]+\)\s+)?\[(\d+)\]\s+(\S+)\s+([\d.]+): ([^\s:]+): ?(.*)"
_LOST = r"CPU:(\d+) \[LOST (?:(\d+) )?EVENTS\]"
_CHUNK, _MOST = 1 << 16, 1 << 22


def parse_trace_line(line: str) -> TraceLine | None:
    """One line of trace_pipe, None for what is no event (lines about lost events, headers)."""
    import re

    found = re.fullmatch(_LINE, line, re.DOTALL)
    if found is None:
        return None
    comm, pid, cpu, flags, time, function, text = found.groups()
    return TraceLine(text, comm, int(pid), int(cpu), flags, time, function, line)


def parse_lost_line(line: str) -> tuple[int, int] | None:
    """(CPU, lost events; 0 where the kernel does not know how many) of a line `CPU:1 [LOST 127 EVENTS]`."""
    import re

    found = re.fullmatch(_LOST, line.strip())
    return (int(found[1]), int(found[2] or 0)) if found else None


class TracePipe:
    """Emits a `TraceLine` for every line that bpf_trace_printk() wrote since it was opened.

    The kernel does not say which program wrote a line: those of other processes' programs come too. What is read is
    gone for other readers of trace_pipe. Lines that other users of ftrace wrote are left out. `lost` counts events that
    were overwritten before they were read.
    """

    name = "trace_pipe"

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.lost = 0
        self._emit = emit
        self._rest = b""
        path = f"{tracefs()}/trace_pipe"
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            raise PermissionDenied(
                f"open {path}: permission denied",
                capability="CAP_DAC_READ_SEARCH",
                errno=13,
                operation="open",
                hint="run as root",
            ) from None
        except OSError as e:
            raise UsageError(
                f"open {path}: {os.strerror(e.errno or 0).lower()}", hint="does another process read it?"
            ) from None
        while self._read():  # what was there before
            continue
        self._rest = b""

    def fileno(self) -> int:
        """-1: the kernel announces trace_pipe only when it is half full, so it is looked at."""
        return -1

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return b""

    def drain(self) -> int:
        """Emit the lines that are there; how many."""
        data, parts = self._rest, 0
        while parts < _MOST:
            chunk = self._read()
            if not chunk:
                break
            data += chunk
            parts += len(chunk)
        *lines, self._rest = data.split(b"\n")
        return sum(self._line(line.decode("utf-8", "surrogateescape")) for line in lines)

    def _line(self, text: str) -> int:
        line = parse_trace_line(text)
        if line is not None:
            if line.function != "bpf_trace_printk":
                return 0
            self._emit(line)
            return 1
        lost = parse_lost_line(text)
        if lost is not None and lost[1]:
            self.lost += lost[1]
        elif lost is not None:
            self._emit(Message("warning", f"trace_pipe lost events of CPU {lost[0]}: it was read too late"))
        return 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
