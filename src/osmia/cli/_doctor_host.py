"""What `osmia doctor` says of this installation: the compiler and the cache."""

from __future__ import annotations

from ..errors import CacheError
from ..kernel import Check


def llvm_check() -> Check:
    """Whether LLVM can be loaded, and which."""
    try:
        import llvmlite
        import llvmlite.binding as binding
    except (ImportError, OSError) as error:
        return Check("LLVM", "fail", "missing", f"scripts cannot be compiled: {error}", "pip install llvmlite")
    version = ".".join(map(str, binding.llvm_version_info))
    return Check("LLVM", "ok", f"{version}, through llvmlite {llvmlite.__version__}")


def cache_check() -> Check:
    """Whether compiled scripts are kept, and where."""
    from ..objects import Cache

    name = "compile cache"
    try:
        with Cache.open() as cache:
            import os

            names = [n for n in os.listdir(cache.path) if n.endswith(".obj")]
            if not os.access(cache.path, os.W_OK | os.X_OK, effective_ids=True):
                fix = f"chmod u+rwx {cache.path}"
                return Check(name, "warn", f"{cache.path} cannot be written", "every start compiles anew", fix)
            return Check(name, "ok", f"{cache.path}, {len(names)} scripts")
    except CacheError as error:
        value = error.message.partition(": ")[2]
        fix = "set OSMIA_CACHE_DIR to a directory of your own"
        return Check(name, "warn", value, "it is not used: every start compiles anew", fix)
