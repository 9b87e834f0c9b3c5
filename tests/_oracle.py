"""Random programs, the verdicts of a kernel on them, and ours: what the tests on this machine and in guests share."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from struct import pack_into, unpack_from

import _random_programs
import _random_ranges
from _random_programs import MAPS

from osmia import syscalls
from osmia.errors import IsaError
from osmia.isa import MAP_TYPES, PROG_TYPES, assemble

# What a program that loads by mistake could do harm with.
UNSAFE = re.compile(
    r"mem access|stack|packet|!read_ok|type=|expected=|outside of|unbounded|negative|pointer|reference|null|misaligned"
    r"|map value|context access|ctx access|release"
)
# Machines differ in what these answer: it is no matter of the verifier.
SKIPPED = re.compile(r"kernel function|JIT|ENOTSUPP")


@contextmanager
def maps() -> Iterator[list[int]]:
    """The maps of random programs."""
    fds = [
        syscalls.map_create(type=MAP_TYPES[kind], key_size=key, value_size=value, max_entries=entries)
        for kind, key, value, entries in MAPS
    ]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def with_fds(code: bytes, fds: list[int]) -> bytes:
    """The program with descriptors in the place of the maps' numbers."""
    out = bytearray(code)
    at = 0
    while at < len(out):
        if out[at] == 0x18:
            if out[at + 1] >> 4 == 1:
                pack_into("<i", out, at + 4, fds[unpack_from("<i", out, at + 4)[0]])
            at += 8
        at += 8
    return bytes(out)


def kernel_says(type: str, code: bytes) -> tuple[bool, str]:
    """Whether the running kernel loads it, and the end of its log."""
    log = syscalls.buffer(1 << 16)
    for level in (4, 4, 1, 1, 1):  # a load may also fail for want of memory, or since a signal came
        fd = syscalls.prog_load(type=PROG_TYPES[type], insns=code, log_level=level, log=log)
        if fd >= 0 or -fd in (errno.EACCES, errno.EINVAL, errno.E2BIG, errno.EPERM):
            break
    if fd >= 0:
        os.close(fd)
    words = log.value.decode(errors="replace")
    return fd >= 0, words[-600:]


def programs(seed: int, count: int) -> Iterator[tuple[int, str, str, bytes]]:
    """(seed, type, text, code) of programs, of both kinds in turn."""
    for number in range(count):
        write = (_random_programs.write, _random_ranges.write)[number & 1]
        type, text = write(seed + number)
        try:
            yield seed + number, type, text, assemble(text)
        except IsaError:
            continue  # damage that no longer assembles


class Score:
    """How often our verdicts are a kernel's, and where they are not."""

    def __init__(self) -> None:
        self.agreed = 0
        self.accepted = 0
        self.wrong: list[str] = []
        self.harmful: list[str] = []

    def add(self, title: str, loads: bool, words: str, accepted: bool, message: str) -> None:
        """One program, and what both said."""
        if SKIPPED.search(words):
            return
        self.accepted += loads
        if accepted == loads:
            self.agreed += 1
            return
        said = "loads" if loads else "refuses"
        self.wrong.append(f"{title}\nthe kernel {said} it: {words}\nours: {message}")
        if accepted and UNSAFE.search("\n".join(_last_words(words.splitlines()))):
            self.harmful.append(self.wrong[-1])

    def check(self, least: int) -> None:
        """At least so many programs, 97 of 100 alike, and none accepted that the kernel refuses for memory's sake."""
        total = self.agreed + len(self.wrong)
        assert total >= least
        assert 0.2 < self.accepted / total < 0.9, "the programs are all alike"
        assert not self.harmful, self.harmful[0]
        assert self.agreed >= total * 0.97, f"{self.agreed} of {total}\n\n" + "\n\n".join(self.wrong[:3])


def _last_words(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if not line.startswith(("processed ", "verification time", "stack depth"))][-1:]
