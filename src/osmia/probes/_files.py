"""Which files a user probe means: paths, programs in $PATH, libraries by name, what a process has mapped."""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG
from struct import unpack_from

from ..errors import ProbeError
from ._glob import has_wildcard, matcher

LD_CACHE = "/etc/ld.so.cache"
_LIBRARY_DIRS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
# Flags of an ld.so.cache entry: libc6 ELF (3) and the 64-bit ABI of the machine (glibc sysdeps/generic/ldconfig.h).
_CACHE_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}


def resolve_files(target: str, pid: int = 0) -> list[str]:
    """Paths of the ELF files that `target` means, best first; empty if there is none.

    A path, a pattern of paths, the name of a program in $PATH, a library ("libc", "libssl.so.3"); with a `pid`, paths
    are those of the process's mount namespace, "" is its program and "*" all that it has mapped.
    """
    if not target or target == "*":
        if target:
            return mapped_files(pid) if pid else _mapped_anywhere()
        exe = _link(f"/proc/{pid}/exe") if pid else ""
        return [in_namespace(pid, exe)] if exe else []
    if "!/" in target:
        return [target] if os.path.isfile(target.partition("!/")[0]) else []
    if has_wildcard(target):
        return [path for path in _glob(in_namespace(pid, target)) if is_elf(path)]
    if "/" in target:
        path = in_namespace(pid, target)
        return [path] if is_elf(path) else []
    if target.startswith("lib"):
        found = _mapped_library(target, pid) or find_library(target, pid)
        if found:
            return [found]
    for directory in os.environ.get("PATH", "/usr/bin:/bin").split(":"):
        path = in_namespace(pid, f"{directory or '.'}/{target}")
        if is_elf(path) and os.access(path, os.X_OK):
            return [path]
    return []


def no_file(what: str, target: str, pid: int, probe: str) -> ProbeError:
    """The error for a target that `resolve_files` found nothing for: `what` could not be done, and why."""
    cause, hint = _why_none(target, pid)
    return ProbeError(f"{what}: {target!r} {cause}" if target else f"{what}: {cause}", probe=probe, hint=hint)


def _why_none(target: str, pid: int) -> tuple[str, str]:
    give = "give a path, a program in $PATH, or a library such as libc"
    if not target or target == "*" or has_wildcard(target):
        return "no ELF file is known for it", give
    if "/" not in target:
        from shutil import which

        found = "" if pid else which(target)
        if found:
            return f"is {found}, which {_why_none(found, 0)[0]}", give
        here = "" if pid or not is_elf(f"./{target}") else f"./{target}"
        return "is no program in $PATH, and no library", f"did you mean {here}?" if here else give
    path = in_namespace(pid, target.partition("!/")[0])
    try:
        status = os.stat(path)
        if not S_ISREG(status.st_mode):
            return "is a directory" if S_ISDIR(status.st_mode) else "is no regular file", give
        with open(path, "rb"):
            return "is no ELF file", give
    except PermissionError:
        whose = "to probe a function, its file must be readable: run it with sudo"
        return "cannot be read: permission denied", whose
    except (OSError, ValueError) as error:
        return f"cannot be read: {(getattr(error, 'strerror', '') or str(error)).lower()}", give


def is_elf(path: str) -> bool:
    """Whether this is a regular file that starts as ELF files do; never opens devices or pipes."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb", buffering=0) as file:
            return file.read(4) == b"\x7fELF"
    except (OSError, ValueError):
        return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def in_namespace(pid: int, path: str) -> str:
    """An absolute path of process `pid` as we reach it: below /proc/PID/root if it lives in another mount namespace."""
    if not pid or not path.startswith("/") or path.startswith("/proc/"):
        return path
    theirs = _link(f"/proc/{pid}/ns/mnt")
    if theirs and theirs != _link("/proc/self/ns/mnt"):
        return f"/proc/{pid}/root{path}"
    return path


def mapped_files(pid: int) -> list[str]:
    """ELF files that the process has mapped as code, in address order. ProbeError if there is no such process."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        raise ProbeError(f"list mapped files: there is no process {pid}", hint="did it end? pgrep finds it") from None
    except PermissionError:
        raise ProbeError(f"list mapped files of process {pid}: permission denied", hint="run as root") from None
    except ProcessLookupError:
        return []  # it is exiting
    found: dict[str, None] = {}
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].startswith("/"):
            found[fields[5].removesuffix(" (deleted)")] = None
    return [path for path in (in_namespace(pid, p) for p in found) if is_elf(path)]


def _mapped_anywhere() -> list[str]:
    found: dict[tuple[int, int], str] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            paths = mapped_files(int(name))
        except ProbeError:
            continue  # it ended meanwhile, or is not ours to look at
        for path in paths:
            try:
                status = os.stat(path)
            except OSError:
                continue  # removed meanwhile
            found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def _glob(pattern: str) -> list[str]:
    """Files that match a pattern of paths; `*` does not cross a slash."""
    paths = ["/"] if pattern.startswith("/") else [""]
    for part in pattern.split("/"):
        if not part:
            continue
        if not has_wildcard(part):
            paths = [f"{path}{part}/" for path in paths if os.path.exists(f"{path}{part}")]
            continue
        matches = matcher(part)
        found = []
        for path in paths:
            try:
                names = sorted(os.listdir(path or "."))
            except OSError:
                continue  # no directory, or closed to us: nothing in it can match
            found += [f"{path}{name}/" for name in names if matches(name) and (part[0] == "." or name[0] != ".")]
        paths = found
    return [path.rstrip("/") for path in paths]


def _named(library: str, file: str) -> bool:
    """Whether a file name is the library: "libc" is libc.so.6 (or libc-2.31.so), "libc.so.6" only that."""
    if file == library:
        return True
    return ".so" not in library and file.startswith((library + ".so", library + "-"))


def _mapped_library(name: str, pid: int) -> str:
    if not pid:
        return ""
    for path in mapped_files(pid):
        if _named(name, os.path.basename(path)):
            return path
    return ""


def find_library(name: str, pid: int = 0) -> str:
    """Path of a shared library by name ("libc", "libc.so.6") as the dynamic loader finds it, "" if it does not."""
    found = [path for soname, path in ld_cache(in_namespace(pid, LD_CACHE)) if _named(name, soname)]
    for path in found:
        path = in_namespace(pid, path)
        if is_elf(path):
            return path
    # Without a cache (musl, static systems): the loader's default directories.
    for directory in (*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *_LIBRARY_DIRS):
        where = in_namespace(pid, directory) if directory else ""
        if not where or not os.path.isdir(where):
            continue
        for file in sorted(os.listdir(where)):
            if _named(name, file) and is_elf(f"{where}/{file}"):
                return f"{where}/{file}"
    return ""


def ld_cache(path: str = LD_CACHE, machine: str = "") -> list[tuple[str, str]]:
    """(soname, path) of the libraries for this machine in an ld.so.cache; empty if it is missing or damaged."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return []
    # glibc 2.2 to 2.31 put the old format first; the new one follows, aligned.
    start = data.find(b"glibc-ld.so.cache1.1")
    if start < 0 or start + 48 > len(data):
        return []
    count = unpack_from("<I", data, start + 20)[0]
    flags = _CACHE_FLAGS.get(machine or os.uname().machine, 0x0303)
    found = []
    for at in range(start + 48, min(start + 48 + 24 * count, len(data) - 23), 24):
        kind, key, value = unpack_from("<III", data, at)
        if kind & 0xFFFF == flags:
            found.append((_string(data, start + key), _string(data, start + value)))
    return found


def _string(data: bytes, at: int) -> str:
    end = data.find(b"\0", at)
    return data[at:end].decode("utf-8", "surrogateescape") if 0 <= at < end else ""
