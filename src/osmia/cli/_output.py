"""Writing to a descriptor: buffered as asked, in order with what goes to stderr, quiet when nobody reads any more."""

from __future__ import annotations

import os

from ..errors import OsmiaError, UsageError

LINE_LIMIT, FULL_LIMIT = 4096, 65536
EBADF = 9


class Closed(Exception):
    """The reader of our output has gone."""


class Output:
    """Text to a descriptor. `mode` is none (write at once), line (kept until `flush`, 4 KiB at most) or full (64 KiB).

    In line mode the owner calls `flush()` after every batch of events.
    """

    def __init__(self, fd: int, mode: str = "line") -> None:
        self.fd = fd
        self._limit = {"none": 0, "line": LINE_LIMIT, "full": FULL_LIMIT}[mode]
        self._full = mode == "full"
        self._parts: list[str] = []
        self._size = 0

    def write(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size > self._limit:
            self.flush(force=True)

    def flush(self, *, force: bool = False) -> None:
        if not self._parts or (self._full and not force):
            return
        data = "".join(self._parts).encode("utf-8", "surrogateescape")
        self._parts, self._size = [], 0
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except BrokenPipeError:
            raise Closed from None
        except OSError as error:
            cause, hint = (error.strerror or str(error)).lower(), ""
            if error.errno == EBADF:
                cause, hint = "it is closed", "run it with an open standard output: >/dev/null"
            raise OsmiaError(f"write output: {cause}", hint=hint) from None


class OutputFile:
    """A context manager that gives an `Output` to the file `path` (standard output without one), closed at the end."""

    def __init__(self, path: str, mode: str = "line") -> None:
        self._path, self._mode, self._fd = path, mode, 1

    def __enter__(self) -> Output:
        if self._path:
            try:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            except OSError as e:
                raise UsageError(f"open output file {self._path}: {os.strerror(e.errno or 0).lower()}") from None
        return Output(self._fd, self._mode)

    def __exit__(self, *_error: object) -> None:
        if self._fd != 1:
            os.close(self._fd)


class Errors:
    """Text to stderr, after what was written to `before`."""

    def __init__(self, before: Output) -> None:
        self._before = before

    def write(self, text: str) -> None:
        self._before.flush(force=True)
        complain(text)


def occupy_standard_files() -> None:
    """Put something on descriptors 0 to 2 that are closed, so that no file opened later is taken for one of them.

    What stands there fails as a closed one would: it cannot be written, or for standard input not be read.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDONLY if fd else os.O_WRONLY)


def complain(text: str) -> None:
    """Text to stderr; if nobody reads that either, there is nobody left to tell."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        return


def paint(text: str, colour: str) -> str:
    return f"\033[{'31' if colour == 'red' else '33'}m{text}\033[0m"


def wants_colour() -> bool:
    """Colours only on a terminal, and never with NO_COLOR (https://no-color.org)."""
    mode = os.environ.get("BPFTRACE_COLOR", "auto")
    if mode == "always":
        return True
    return mode != "never" and not os.environ.get("NO_COLOR") and os.isatty(1) and os.isatty(2)
