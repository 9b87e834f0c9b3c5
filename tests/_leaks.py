"""What a test may leave behind: file descriptors and threads of this process, BPF objects in the kernel.

BPF objects are looked up by id through bpf(2) itself, not through Osmia: code that leaks cannot hide it from here.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
from pathlib import Path

NR_BPF = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine, -1)
# enum bpf_cmd of linux/bpf.h: the *_GET_NEXT_ID commands.
NEXT_ID = {"program": 11, "map": 12, "link": 31}
PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 13, 15
SETTLE_S = 3.0

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    """bpf(command, attr): the result (-1 on error) and the attr as the kernel left it."""
    buffer = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    return _libc.syscall(NR_BPF, command, buffer, 128), buffer.raw


def bpf_ids() -> set[tuple[str, int]]:
    """(kind, id) of every program, map and link in the kernel; empty without the privilege to ask."""
    found = set()
    for kind, command in NEXT_ID.items():
        last = 0
        while True:
            result, attr = _bpf(command, struct.pack("=II", last, 0))
            if result < 0:  # ENOENT after the last one, EPERM without CAP_SYS_ADMIN
                break
            last = struct.unpack_from("=I", attr, 4)[0]
            found.add((kind, last))
    return found


def _maps_of(program: int) -> set[tuple[str, int]]:
    fd, _ = _bpf(PROG_GET_FD_BY_ID, struct.pack("=I", program))
    if fd < 0:
        return set()
    try:
        ids = (ctypes.c_uint32 * 64)()
        # struct bpf_prog_info: nr_map_ids at 52, map_ids at 56.
        info = ctypes.create_string_buffer(232)
        struct.pack_into("=IQ", info, 52, len(ids), ctypes.addressof(ids))
        result, _ = _bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(info), ctypes.addressof(info)))
        count = struct.unpack_from("=I", info, 52)[0] if result == 0 else 0
        return {("map", ids[i]) for i in range(min(count, len(ids)))}
    finally:
        os.close(fd)


def _held_by_others() -> set[tuple[str, int]]:
    """BPF objects that other processes hold open: somebody else on this machine traces as well."""
    held: set[tuple[str, int]] = set()
    keys = {"prog_id": "program", "map_id": "map", "link_id": "link"}
    for folder in Path("/proc").glob("[0-9]*/fdinfo"):
        if folder.parent.name == str(os.getpid()):
            continue
        try:
            texts = [entry.read_text() for entry in folder.iterdir()]
        except OSError:  # the process has gone
            continue
        for line in "\n".join(texts).splitlines():
            name, _, value = line.partition(":")
            if name in keys:
                held.add((keys[name], int(value)))
    for kind, number in list(held):
        if kind == "program":
            held |= _maps_of(number)
    return held


def _open_files() -> dict[int, str]:
    files = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            files[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of this listing
            continue
    return files


class LeakCheck:
    """Remembers the state at its making; `leftovers()` says what has been added since."""

    def __init__(self) -> None:
        self._files = _open_files()
        self._threads = set(threading.enumerate())
        self._bpf = bpf_ids()

    def leftovers(self) -> list[str]:
        """One line for each thing that is still there. Waits a moment: the kernel frees BPF objects after RCU."""
        own = [f"fd {fd}: {to}" for fd, to in sorted(_open_files().items()) if self._files.get(fd) != to]
        own += [f"thread {thread.name}" for thread in threading.enumerate() if thread not in self._threads]
        seen: set[tuple[str, int]] = set()  # held by others at some moment: theirs, also just after they closed it
        # Ids only grow: what is made from here on is not ours.
        new = bpf_ids() - self._bpf
        end = time.monotonic() + SETTLE_S
        while True:
            new &= bpf_ids()
            if new:
                seen |= _held_by_others()
            if not new - seen or time.monotonic() > end:
                break
            time.sleep(0.05)
        return own + [f"BPF {kind} {number}" for kind, number in sorted(new - seen)]
