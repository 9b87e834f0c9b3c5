"""What processes had mapped that have ended: from records as the kernel writes them, and from a look at the start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from struct import pack

from osmia.elf import open_elf
from osmia.symbols import History, UserSymbols
from osmia.symbols._maps import read_maps

EXEC = 1 << 13


def record(kind: int, when: int, body: bytes, misc: int = 0) -> bytes:
    body += bytes(-len(body) % 8)
    return pack("=IHH", kind, misc, 16 + len(body)) + body + pack("=Q", when)


def mapped(pid: int, when: int, start: int, size: int, file: str, *, offset: int = 0, inode: int = 7) -> bytes:
    body = pack("=IIQQQIIQQII", pid, pid, start, size, offset, 8, 1, inode, 0, 5, 2)
    return record(10, when, body + os.fsencode(file) + b"\0")


def forked(pid: int, parent: int, when: int) -> bytes:
    return record(7, when, pack("=IIIIQ", pid, parent, pid, parent, when))


def executed(pid: int, when: int) -> bytes:
    return record(3, when, pack("=II", pid, pid) + b"name\0", EXEC)


def history_of(*records: bytes) -> History:
    parts = [b"".join(records)]
    return History(lambda: parts.pop() if parts else b"")


def files(history: History, pid: int) -> list[list[tuple[int, str]]]:
    return [[(m.start, m.file) for m in mappings] for mappings, _when in history.images(pid)]


def test_a_program_and_its_library() -> None:
    history = history_of(
        executed(5, 10), mapped(5, 12, 0x9000, 0x1000, "/lib"), mapped(5, 11, 0x4000, 0x2000, "/bin"),
        mapped(6, 11, 0x5000, 0x1000, "/other"),
    )  # fmt: skip
    assert files(history, 5) == [[(0x4000, "/bin"), (0x9000, "/lib")]]
    ((_mappings, when),) = history.images(5)
    assert when == 11
    assert files(history, 7) == []


def test_the_last_program_comes_first() -> None:
    history = history_of(
        mapped(5, 1, 0x1000, 0x1000, "/shell"), executed(5, 2), mapped(5, 3, 0x1000, 0x1000, "/env"), executed(5, 4),
        mapped(5, 5, 0x1000, 0x1000, "/tool"),
    )  # fmt: skip
    assert files(history, 5) == [[(0x1000, "/tool")], [(0x1000, "/env")], [(0x1000, "/shell")]]


def test_a_fork_has_what_its_parent_had_then() -> None:
    history = history_of(
        mapped(5, 1, 0x1000, 0x1000, "/shell"), forked(6, 5, 2), mapped(5, 3, 0x8000, 0x1000, "/later"),
        forked(7, 6, 4), executed(7, 5), mapped(7, 6, 0x3000, 0x1000, "/tool"),
    )  # fmt: skip
    assert files(history, 6) == [[(0x1000, "/shell")]]
    assert files(history, 7) == [[(0x3000, "/tool")], [(0x1000, "/shell")]]


def test_a_number_that_is_used_again_has_nothing_of_the_one_before() -> None:
    history = history_of(executed(5, 1), mapped(5, 2, 0x1000, 0x1000, "/old"), forked(5, 3, 3))
    assert files(history, 5) == []


def test_a_later_mapping_hides_what_it_covers() -> None:
    history = history_of(mapped(5, 1, 0x1000, 0x3000, "/old"), mapped(5, 2, 0x2000, 0x1000, "/new"))
    assert files(history, 5) == [[(0x2000, "/new")]]


def test_nothing_from_before_a_loss_is_believed() -> None:
    lost = record(2, 3, pack("=QQ", 1, 10))
    history = history_of(mapped(5, 1, 0x1000, 0x1000, "/bin"), lost, mapped(6, 4, 0x1000, 0x1000, "/bin"))
    assert files(history, 5) == []
    assert files(history, 6) == [[(0x1000, "/bin")]]


def test_a_look_at_a_process_that_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        while "libc" not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.01)
        history = history_of()
        history.look([sys.executable], budget=0)
        process.kill()
    (found,) = files(history, process.pid)
    assert any(file == os.path.realpath(sys.executable) for _start, file in found)


def test_names_are_those_of_the_file_that_was_mapped() -> None:
    path = next(m.file for m in read_maps(os.getpid()) if "/libc.so" in m.file or "/libc-" in m.file)
    with open_elf(path) as elf:
        symbol = elf.find_symbol("getenv")
        assert symbol is not None
        where = elf.addr_to_offset(symbol.value)
    page, inode, base = where & ~0xFFF, os.stat(path).st_ino, 0x7F0000000000
    now = time.time_ns()

    def name(pid: int, when: int, inode: int, file: str = path) -> str:
        with UserSymbols(readable=False) as symbols:
            symbols.remember(history_of(mapped(pid, when, base, 0x2000, file, offset=page, inode=inode)))
            return symbols.resolve(pid, base + where - page + 8).name

    gone = 1 << 22  # no process has this number
    assert name(gone, now, inode) == symbol.name
    assert name(gone, now, inode + 1) == ""  # replaced by another file
    assert name(gone, os.stat(path).st_ctime_ns - 1, inode) == ""  # changed since
    assert name(gone, now, inode, path + " (deleted)") == ""
    assert name(gone, now, inode, "/nonexistent") == ""
