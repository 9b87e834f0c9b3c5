"""The compile cache: packed objects in a directory that only its owner can write.

A cached object is bytecode that is loaded with the user's privileges, so whoever can write the cache owns the
kernel. The directory is opened once and checked through its descriptor; entries are opened relative to it.
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG

from ..errors import CacheError, ObjectError
from ._pack import pack, unpack
from ._spec import Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_MAGIC = b"OsmiaC1\n"
_DIGEST = 32
_HEAD = len(_MAGIC) + _DIGEST
_STALE_TEMPORARY = 3600  # seconds after which a temporary file has no writer any more
LIMIT_BYTES = 64 << 20
LIMIT_ENTRIES = 2048


def _blake2b(data: bytes) -> bytes:
    try:
        from _blake2 import blake2b  # hashlib costs 5 to 10 ms for OpenSSL's algorithms
    except ImportError:
        from hashlib import blake2b
    return blake2b(data, digest_size=_DIGEST).digest()


def cache_key(*parts: bytes | str | int) -> bytes:
    """32 bytes that differ whenever any part, its type or the split into parts differs."""
    out: list[bytes] = []
    for part in parts:
        kind = b"b" if isinstance(part, bytes) else b"s" if isinstance(part, str) else b"i"
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        out += (kind, len(raw).to_bytes(8, "little"), raw)
    return _blake2b(b"".join(out))


def cache_dir() -> str:
    """$OSMIA_CACHE_DIR, else osmia in $XDG_CACHE_HOME, else ~/.cache/osmia of the effective user."""
    environ = os.environ
    if environ.get("OSMIA_CACHE_DIR"):
        return environ["OSMIA_CACHE_DIR"]
    # The XDG specification has relative paths ignored.
    xdg = environ.get("XDG_CACHE_HOME", "")
    if xdg.startswith("/"):
        return f"{xdg}/osmia"
    return f"{_home()}/.cache/osmia"


def _home() -> str:
    """$HOME if it is ours: `sudo -E` keeps the caller's, where root's files would lock the caller out."""
    home = os.environ.get("HOME", "")
    try:
        if home and os.stat(home).st_uid == os.geteuid():
            return home
    except (OSError, ValueError):
        home = ""
    from pwd import getpwuid

    try:
        return getpwuid(os.geteuid()).pw_dir
    except KeyError:
        if home:
            return home
    raise CacheError("open cache: no home directory", hint="set OSMIA_CACHE_DIR")


class Cache:
    """An open cache directory; a context manager. Open it with `Cache.open()`."""

    def __init__(self, fd: int, path: str, limit: int = LIMIT_BYTES, entries: int = LIMIT_ENTRIES) -> None:
        self._fd = fd
        self.path = path
        self.limit = limit
        self.entries = entries

    @classmethod
    def open(cls, path: str = "", *, limit: int = LIMIT_BYTES) -> Self:
        """Open the cache at `path` (default: `cache_dir()`), creating it. `limit` is in bytes.

        Raises CacheError when it cannot be made, is a symbolic link, or is another user's or others can write to it.
        """
        path = path or cache_dir()
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                fd = os.open(path, flags)
            except FileNotFoundError:
                os.makedirs(path, mode=0o700, exist_ok=True)
                fd = os.open(path, flags)
        except NotADirectoryError:
            raise CacheError(f"open cache {path}: not a directory, or a symbolic link", hint=_HINT) from None
        except (OSError, ValueError) as error:
            raise CacheError(f"open cache {path}: {getattr(error, 'strerror', '') or error}", hint=_HINT) from None
        try:
            _check_owner(fd, f"open cache {path}", directory=True)
        except CacheError:
            os.close(fd)
            raise
        return cls(fd, path, limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def get(self, key: bytes) -> Object | None:
        """The object stored under `key`, or None. Removes a damaged entry; CacheError for one that others can write."""
        found = self.get_value(key)
        return found if isinstance(found, Object) else None

    def get_value(self, key: bytes) -> Any:
        """As `get`, for anything that `put_value` stored."""
        name = _name(key)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CacheError(f"read cache entry {self.path}/{name}: {error.strerror}", hint=_HINT) from None
        try:
            size = _check_owner(fd, f"read cache entry {self.path}/{name}", directory=False)
            raw = _read(fd, size) if size <= self.limit else b""
            value = _decode(raw, key)
            if value is not None:
                os.utime(fd)  # the time of last use decides what is evicted
        except OSError:
            return None
        finally:
            os.close(fd)
        if value is None:
            self._remove(name)
        return value

    def put(self, key: bytes, obj: Object) -> bool:
        """Store `obj` under `key`, atomically; False when there is no room or the disk refuses."""
        return self.put_value(key, obj)

    def put_value(self, key: bytes, value: Any) -> bool:
        """As `put`, for whatever `pack` takes (tuples, numbers, bytes, text)."""
        payload = pack(value)
        if _HEAD + len(payload) > self.limit:
            return False
        raw = b"".join((_MAGIC, _blake2b(key + payload), payload))
        temporary = f".tmp-{os.getpid()}-{os.urandom(6).hex()}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o600, dir_fd=self._fd)
        except OSError:
            return False
        try:
            try:
                _write(fd, raw)
            finally:
                os.close(fd)
            os.rename(temporary, _name(key), src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            self._remove(temporary)
            return False
        self._evict()
        return True

    def clear(self) -> int:
        """Remove all entries; returns how many."""
        return sum(self._remove(name) for name in self._names())

    def _names(self) -> list[str]:
        try:
            return [n for n in os.listdir(self._fd) if n.endswith(".obj") or n.startswith(".tmp-")]
        except OSError:
            return []

    def _remove(self, name: str) -> bool:
        try:
            os.unlink(name, dir_fd=self._fd)
        except OSError:  # gone already, or not ours to remove: `get` will say so
            return False
        return True

    def _evict(self) -> None:
        """Keep within the limits: drop what was used longest ago, down to three quarters."""
        rows: list[tuple[float, int, str]] = []
        newest = 0.0
        for name in self._names():
            try:
                found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            except OSError:  # another process evicts at the same time
                continue
            newest = max(newest, found.st_mtime)
            rows.append((found.st_mtime, found.st_size, name))
        for when, _, name in rows:
            if name.startswith(".tmp-") and when < newest - _STALE_TEMPORARY:
                self._remove(name)
        rows = [row for row in rows if not row[2].startswith(".tmp-")]
        total = sum(size for _, size, _ in rows)
        if total <= self.limit and len(rows) <= self.entries:
            return
        left = len(rows)
        for _, size, name in sorted(rows):
            if total <= self.limit * 3 // 4 and left <= self.entries * 3 // 4:
                break
            self._remove(name)
            total -= size
            left -= 1


_HINT = "remove it, or point OSMIA_CACHE_DIR at a directory of your own"


def _name(key: bytes) -> str:
    return f"{key.hex()[:64]}.obj"


def _check_owner(fd: int, doing: str, *, directory: bool) -> int:
    """Size of what `fd` is, once it is known that nobody else can write it."""
    found = os.fstat(fd)
    if not (S_ISDIR(found.st_mode) if directory else S_ISREG(found.st_mode)):
        raise CacheError(f"{doing}: not a {'directory' if directory else 'regular file'}", hint=_HINT)
    if found.st_uid != os.geteuid():
        raise CacheError(f"{doing}: belongs to user {found.st_uid}, not {os.geteuid()}", hint=_HINT)
    if found.st_mode & 0o022:
        mode = found.st_mode & 0o7777
        raise CacheError(f"{doing}: others can write to it (mode {mode:o})", hint=f"chmod go-w it, or {_HINT}")
    return found.st_size


def _decode(raw: bytes, key: bytes) -> Any:
    if raw[: len(_MAGIC)] != _MAGIC or len(raw) <= _HEAD:
        return None
    payload = raw[_HEAD:]
    if raw[len(_MAGIC) : len(_MAGIC) + _DIGEST] != _blake2b(key + payload):
        return None
    try:
        return unpack(payload)
    except ObjectError:
        return None


def _read(fd: int, size: int) -> bytes:
    out = b""
    while len(out) < size:
        piece = os.read(fd, size - len(out))
        if not piece:
            break
        out += piece
    return out


def _write(fd: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(fd, view) :]
