"""Constants of system headers, for machines without the headers: by the name of the header that defines them.

Types need no table: BTF has the kernel's, and `cdefs` knows those of the C library.
"""

from __future__ import annotations

_LIMITS = {
    "CHAR_BIT": 8, "SCHAR_MIN": -128, "SCHAR_MAX": 127, "UCHAR_MAX": 255, "SHRT_MIN": -32768, "SHRT_MAX": 32767,
    "USHRT_MAX": 65535, "INT_MIN": -(1 << 31), "INT_MAX": (1 << 31) - 1, "UINT_MAX": (1 << 32) - 1,
    "LONG_MIN": -(1 << 63), "LONG_MAX": (1 << 63) - 1, "ULONG_MAX": (1 << 64) - 1, "NAME_MAX": 255, "PATH_MAX": 4096,
    "PIPE_BUF": 4096,
}  # fmt: skip
_STDINT = {
    **{f"INT{n}_MIN": -(1 << n - 1) for n in (8, 16, 32, 64)},
    **{f"INT{n}_MAX": (1 << n - 1) - 1 for n in (8, 16, 32, 64)},
    **{f"UINT{n}_MAX": (1 << n) - 1 for n in (8, 16, 32, 64)},
    "SIZE_MAX": (1 << 64) - 1,
}

# Header -> tables. "module:PREFIX,PREFIX" are the integers of a Python module whose names start like this.
_TABLES = {
    "errno.h": ("errno:E",),
    "linux/errno.h": ("errno:E",),
    "asm/errno.h": ("errno:E",),
    "asm-generic/errno.h": ("errno:E",),
    "asm-generic/errno-base.h": ("errno:E",),
    "signal.h": ("signal:SIG",),
    "linux/signal.h": ("signal:SIG",),
    "sys/socket.h": ("socket:AF_,SOCK_,SOL_,SO_,MSG_,SHUT_",),
    "linux/socket.h": ("socket:AF_,SOL_,MSG_",),
    "net/sock.h": ("socket:AF_,SOCK_,SOL_,SO_,MSG_",),
    "netinet/in.h": ("socket:IPPROTO_,INADDR_,AF_",),
    "linux/in.h": ("socket:IPPROTO_,INADDR_",),
    "linux/in6.h": ("socket:IPPROTO_,IPV6_",),
    "netinet/tcp.h": ("socket:TCP_",),
    "fcntl.h": ("os:O_", "fcntl:F_,FD_,LOCK_"),
    "linux/fcntl.h": ("os:O_", "fcntl:F_,FD_,LOCK_"),
    "linux/fs.h": ("os:O_,SEEK_",),
    "unistd.h": ("os:SEEK_,F_OK,R_OK,W_OK,X_OK", "calls"),
    "sys/stat.h": ("stat:S_I",),
    "linux/stat.h": ("stat:S_I",),
    "sys/mman.h": ("mmap:PROT_,MAP_,MADV_",),
    "linux/mman.h": ("mmap:PROT_,MAP_,MADV_",),
    "sys/resource.h": ("resource:RLIMIT_,RUSAGE_,PRIO_",),
    "time.h": ("time:CLOCK_",),
    "linux/time.h": ("time:CLOCK_",),
    "sys/wait.h": ("os:WNOHANG,WUNTRACED,WCONTINUED",),
    "syscall.h": ("calls",),
    "sys/syscall.h": ("calls",),
    "asm/unistd.h": ("calls",),
    "asm-generic/unistd.h": ("calls",),
    "linux/unistd.h": ("calls",),
    "limits.h": ("limits",),
    "linux/limits.h": ("limits",),
    "linux/kernel.h": ("limits",),
    "stdint.h": ("stdint",),
    "inttypes.h": ("stdint",),
}


def constants(header: str) -> dict[str, int]:
    """What a header defines as numbers; empty for one that is not known."""
    found: dict[str, int] = {}
    for table in _TABLES.get(header, ()):
        if table == "calls":
            found |= _calls()
        elif ":" in table:
            found |= _of_module(*table.split(":"))
        else:
            found |= _LIMITS if table == "limits" else _STDINT
    return found


def find(name: str) -> tuple[str, int] | None:
    """The first header that defines a number of this name, and the number."""
    for header in _TABLES:
        value = constants(header).get(name)
        if value is not None:
            return header, value
    return None


def _of_module(module: str, prefixes: str) -> dict[str, int]:
    from importlib import import_module

    starts = tuple(prefixes.split(","))
    return {
        name: int(value)
        for name, value in vars(import_module(module)).items()
        if name.startswith(starts) and name.isupper() and isinstance(value, int)
    }


def _calls() -> dict[str, int]:
    from ...probes import syscall_names

    numbers = syscall_names()
    return {f"{prefix}{name}": number for number, name in numbers.items() for prefix in ("__NR_", "SYS_")}
