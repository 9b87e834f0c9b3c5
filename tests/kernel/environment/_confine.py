"""Start a program in a poorer environment: `python _confine.py SETTINGS COMMAND...`, as root.

SETTINGS is JSON: `drop` or `keep` name capabilities, `uid` leaves root, `cover` hides folders below an empty tmpfs,
`unmount` takes mounts away, `bind` is [[source, place]], `private` are files to make that root alone can read, `files`
is [[path, text]] shown in place of what is there, `limits` is {"RLIMIT_NOFILE": 64}, `close` lists descriptors. Mounts
are those of a private mount namespace.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys
import tempfile
from typing import Any

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x1000, 0x4000, 0x40000, 2
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 8, 24, 47, 2
# Bits of linux/capability.h, for those that matter here.
BITS = {
    "CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_SETPCAP": 8, "CAP_NET_ADMIN": 12, "CAP_IPC_LOCK": 14,
    "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_SYSLOG": 34, "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}  # fmt: skip
libc = ctypes.CDLL(None, use_errno=True)


def check(what: str, result: int) -> None:
    if result < 0:
        sys.exit(f"confine: {what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, place: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    encoded = [text.encode() or None for text in (source, place, kind)]
    check(f"mount {place}", libc.mount(*encoded, ctypes.c_ulong(flags), data.encode() or None))


def arrange_mounts(settings: dict[str, Any]) -> None:
    check("unshare", libc.unshare(CLONE_NEWNS))
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    for source, place in settings.get("bind", ()):
        mount(source, place, flags=MS_BIND | MS_REC)
    for place in settings.get("unmount", ()):
        while libc.umount2(place.encode(), MNT_DETACH) == 0:
            continue
    for place in settings.get("cover", ()):
        mount("none", place, "tmpfs", data="mode=755")
    for path in settings.get("private", ()):  # there, but for root alone
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o400))
    for path, text in settings.get("files", ()):
        with tempfile.NamedTemporaryFile("w", dir="/dev/shm", delete=False) as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o444)
        if not os.path.exists(path):
            with open(path, "w"):
                pass
        mount(file.name, path, flags=MS_BIND)
        os.unlink(file.name)


def arrange_capabilities(settings: dict[str, Any]) -> None:
    uid = settings.get("uid", 0)
    with open("/proc/self/status") as status:
        held = next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm"))
    if "keep" in settings:
        wanted = held & sum(1 << BITS[name] for name in settings["keep"])
    else:
        wanted = held & ~sum(1 << BITS[name] for name in settings.get("drop", ()))
    for bit in range(64):
        if held >> bit & 1 and not wanted >> bit & 1:
            check("drop", libc.prctl(PR_CAPBSET_DROP, bit, 0, 0, 0))
    if uid:
        check("keep capabilities", libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        low, high = wanted & 0xFFFFFFFF, wanted >> 32
        header = struct.pack("<Ii", 0x20080522, 0)
        data = struct.pack("<6I", low, low, low, high, high, high)
        check("capset", libc.syscall({"x86_64": 126, "aarch64": 91}[os.uname().machine], header, data))
        for bit in range(64):
            if wanted >> bit & 1:
                check("raise", libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0))


def main() -> None:
    settings = json.loads(sys.argv[1])
    arrange_mounts(settings)
    for name, value in settings.get("limits", {}).items():
        resource.setrlimit(getattr(resource, name), (value, value))
    arrange_capabilities(settings)
    for fd in settings.get("close", ()):
        os.close(fd)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
