"""Osmia: the whole eBPF stack as one Python package.

import osmia

with osmia.trace("tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }", duration=5) as t:
    t.wait()
    print(t.maps["@"])
"""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._api import Trace, compile, load, trace
    from .errors import OsmiaError

__all__ = ["OsmiaError", "Trace", "__version__", "compile", "load", "trace"]

# `import osmia` is enough for `osmia.objects.Object`.
_PACKAGES = ("btf", "elf", "errors", "isa", "kernel", "objects", "session", "testing", "verifier", "vm")


def __getattr__(name: str) -> object:
    # Lazy: `import osmia` costs next to nothing, and `osmia --help` needs none of it.
    if name in ("Trace", "compile", "load", "trace"):
        from . import _api

        return getattr(_api, name)
    if name == "OsmiaError":
        from .errors import OsmiaError

        return OsmiaError
    if name in _PACKAGES:
        return __import__(f"{__name__}.{name}", fromlist=["*"])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
