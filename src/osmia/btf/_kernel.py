"""The running kernel's BTF, its offset index cached per user."""

from __future__ import annotations

import os
from binascii import crc32
from struct import Struct, error, pack

from ..errors import BtfError, CacheError
from ._reader import Btf
from ._types import FIXED, PER_ENTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap

VMLINUX = "/sys/kernel/btf/vmlinux"
_NOTES = "/sys/kernel/notes"
_NT_GNU_BUILD_ID = 3
# Index file: magic, CRC32 of the rest, number of types; then one u32 per type. The magic names the layout.
_HEAD = Struct("<8sII")
_MAGIC = b"OSMBTFI1"
# Types of less than this many bytes are indexed faster than a file is opened and checked.
_WORTH_CACHING = 1 << 18


def load_kernel_btf(module: str | None = None, path: str = VMLINUX) -> Btf:
    """BTF of the running kernel, or of a module on top of it (split BTF).

    `path` may name another raw BTF file. BtfError when it is not there or damaged. About 0.5 ms when the
    index is cached, 15 ms when not.
    """
    base = _load(path)
    if module is None or module == "vmlinux":
        return base
    where = f"{os.path.dirname(path)}/{module}"
    # Modules are small, and reloading one under the same name changes its BTF: no cache.
    return Btf(_read(where, f"module {module!r} is not loaded or has no BTF; see `ls /sys/kernel/btf`"), base)


def _load(path: str) -> Btf:
    data = _read(path, "the kernel must be built with CONFIG_DEBUG_INFO_BTF=y")
    if len(data) < _WORTH_CACHING:
        return Btf(data)
    build_id = _kernel_build_id() if path == VMLINUX else b""
    if build_id:
        key = f"{build_id.hex()}-{len(data)}"
    else:
        from hashlib import blake2b

        key = blake2b(data, digest_size=20).hexdigest()
    try:
        file = f"{cache_dir()}/btf-{key}.idx"
    except CacheError:
        # The index is worth 10 ms, not a failure: work without it. `osmia doctor` reports the directory.
        return Btf(data, key=key)
    btf = _cached(data, file, key)
    if btf is None:
        btf = Btf(data, key=key)
        _store(file, btf.offsets)
    return btf


def _read(path: str, hint: str) -> bytes | mmap:
    try:
        with open(path, "rb", buffering=0) as f:
            if path == VMLINUX:
                mapped = _map(f.fileno())
                if mapped is not None:
                    return mapped
            return f.readall()
    except FileNotFoundError:
        raise BtfError(f"read BTF {path}: no such file", hint=hint) from None
    except OSError as e:
        raise BtfError(f"read BTF {path}: {(e.strerror or str(e)).lower()}") from None


def _map(fd: int) -> mmap | None:
    """Map the kernel's BTF: 0.1 ms against 2 to 5 ms for reads, which sysfs serves page by page.

    Since 6.16 (commit a539e2a6d51d), private mappings only; None where the kernel refuses.
    """
    from mmap import MAP_PRIVATE, PROT_READ, mmap

    try:
        return mmap(fd, os.fstat(fd).st_size, flags=MAP_PRIVATE, prot=PROT_READ)
    except (OSError, ValueError):
        return None


def _kernel_build_id() -> bytes:
    """GNU build id of the running kernel, empty if it cannot be read."""
    try:
        with open(_NOTES, "rb", buffering=0) as f:
            notes = f.readall()
    except OSError:
        return b""
    at = 0
    head = Struct("<III")
    while at + 12 <= len(notes):
        name_len, size, kind = head.unpack_from(notes, at)
        desc = at + 12 + (name_len + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
            return notes[desc : desc + size]
        at = desc + (size + 3 & ~3)
    return b""


def cache_dir() -> str:
    """`$XDG_CACHE_HOME/osmia` or `~/.cache/osmia`, made (0700) if missing.

    CacheError if it cannot be made, belongs to somebody else or can be written to by others.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):
        root = f"{_home()}/.cache"
    path = f"{root}/osmia"
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        st = os.lstat(path)
    except OSError as e:
        raise CacheError(f"make cache directory {path}: {(e.strerror or str(e)).lower()}") from None
    if st.st_mode & 0o170000 != 0o040000 or st.st_uid != os.geteuid():
        raise CacheError(f"use cache directory {path}: it belongs to somebody else", hint="set XDG_CACHE_HOME")
    if st.st_mode & 0o022:
        raise CacheError(f"use cache directory {path}: others can write to it", hint=f"chmod 700 {path}")
    return path


def _home() -> str:
    """$HOME if it is ours; sudo keeps the caller's, where root must neither trust nor leave files."""
    home = os.environ.get("HOME", "")
    try:
        if os.path.isabs(home) and os.stat(home).st_uid == os.geteuid():
            return home
        from pwd import getpwuid

        return getpwuid(os.geteuid()).pw_dir
    except (OSError, KeyError):
        return home or "/nonexistent"


def _cached(data: bytes | mmap, file: str, key: str) -> Btf | None:
    """Btf with the index from `file`; None if that is missing, damaged, unsafe or of other bytes."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb", buffering=0) as f:
        st = os.fstat(fd)
        if st.st_uid != os.geteuid() or st.st_mode & 0o022:
            return None
        raw = f.readall()
    try:
        magic, checksum, count = _HEAD.unpack_from(raw)
    except error:
        return None
    body = memoryview(raw)[_HEAD.size :]
    if magic != _MAGIC or len(body) != 4 * count or not count or crc32(body) != checksum:
        return None
    try:
        btf = Btf(data, offsets=body.cast("I"), key=key)
        return btf if _fits(btf) else None
    except (BtfError, IndexError):
        return None


def _fits(btf: Btf) -> bool:
    """Spot check that an index is one of these bytes: 32 steps and the end must be right."""
    offsets, words = btf.offsets, btf.words
    last = len(offsets) - 1
    for i in (*range(0, last, last // 32 or 1), last):
        at = offsets[i]
        info = words[at + 1]
        kind = info >> 24 & 31
        if kind >= len(FIXED):
            return False
        follow = offsets[i + 1] if i < last else len(words)
        if at + FIXED[kind] + PER_ENTRY[kind] * (info & 0xFFFF) != follow:
            return False
    return offsets[0] == 0


def _store(file: str, offsets: Sequence[int]) -> None:
    """Write the index beside `file` and rename it there. A cache that cannot be written is no error."""
    body = pack(f"<{len(offsets)}I", *offsets)
    scratch = f"{file}.{os.getpid()}.tmp"
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", buffering=0) as f:
            f.write(_HEAD.pack(_MAGIC, crc32(body), len(offsets)) + body)
        os.rename(scratch, file)
    except OSError:
        _remove(scratch)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
