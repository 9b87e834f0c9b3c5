"""Compiling through the cache: a hit reads one file, and neither front-end nor LLVM is imported.

What an object depends on besides its script is in the key (this boot of the kernel, its modules, the environment that
configures the language) or noted in the object (files of uprobes and imports), and checked before it is used again.
"""

from __future__ import annotations

import os

from ._version import __version__
from .errors import CacheError
from .objects import Cache, cache_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .objects import Object

# Settings of an object that the cache adds: "depends.N" = "size mtime inode path".
DEPENDS = "depends."


def compile_cached(
    script: str, *, cache: bool = True, warn: Callable[[str], None] | None = None, **options: Any
) -> Object:
    """`osmia.lang.bpftrace.compile_script(script, **options)`, or what it gave the last time.

    `warn` is told why the cache cannot be used; compiling goes on without it.
    """
    if not cache:
        return _compile(script, options)
    try:
        store = Cache.open()
    except CacheError as error:
        if warn:
            # Not the hint of the error, which is to remove it: it may well be somebody's /tmp.
            warn(f"{error.message}; going on without (set OSMIA_CACHE_DIR to a directory of your own)")
        return _compile(script, options)
    with store:
        key = _key(script, options)
        obj = store.get(key)
        if obj is None or not _fresh(obj):
            obj = _compile(script, options)
            if not store.put(key, _with_dependencies(obj)) and warn:
                warn(f"write cache {store.path}: it cannot be written; going on without (make it writable, or set "
                     "OSMIA_CACHE_DIR)")  # fmt: skip
        return obj


def _compile(script: str, options: dict[str, Any]) -> Object:
    from .lang.bpftrace import compile_script

    return compile_script(script, **options)


def _key(script: str, options: dict[str, Any]) -> bytes:
    parts = [f"{name}={options[name]!r}" for name in sorted(options)]
    parts += [f"{n}={v}" for n, v in sorted(os.environ.items()) if n.startswith(("BPFTRACE_", "OSMIA_"))]
    return cache_key(
        __version__,
        _code_stamp(),
        script,
        os.getcwd(),
        *parts,
        _text("/proc/sys/kernel/random/boot_id"),
        _modules(),
        str(os.geteuid()),
    )


def _code_stamp() -> str:
    """When the compiler runs from a checkout its version says nothing: the newest of its files does."""
    package = os.path.dirname(os.path.abspath(__file__))
    if "site-packages" in package:
        return ""
    newest = 0
    for folder in ("lang/bpftrace", "lang/bpftrace/lower", "codegen", "objects", "btf", "probes", "elf"):
        with os.scandir(os.path.join(package, folder)) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    newest = max(newest, entry.stat().st_mtime_ns)
    return str(newest)


def _modules() -> str:
    """Names of the loaded modules: a wildcard may match what a module brings."""
    return " ".join(sorted(line.split(" ", 1)[0] for line in _text("/proc/modules").splitlines()))


def _text(path: str) -> str:
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def _stamp(path: str) -> str:
    try:
        st = os.stat(path)
    except OSError:
        return ""
    return f"{st.st_size} {st.st_mtime_ns} {st.st_ino}"


def _with_dependencies(obj: Object) -> Object:
    paths = {p.target for p in obj.attach_points if p.target.startswith("/")}
    paths |= {str(value) for name, value in obj.settings if name.startswith("source.")}
    stamps = [(path, _stamp(path)) for path in sorted(paths)]
    notes = tuple((f"{DEPENDS}{i}", f"{stamp} {path}") for i, (path, stamp) in enumerate(stamps) if stamp)
    return obj.replace(settings=obj.settings + notes)


def _fresh(obj: Object) -> bool:
    """Whether the files that the object was made from are still the same."""
    for name, value in obj.settings:
        if name.startswith(DEPENDS):
            size, mtime, inode, path = str(value).split(" ", 3)
            if _stamp(path) != f"{size} {mtime} {inode}":
                return False
    return True
