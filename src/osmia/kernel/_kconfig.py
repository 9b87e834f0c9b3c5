"""What the running kernel was built with."""

from __future__ import annotations

from .. import syscalls


def lacking_options(options: tuple[str, ...]) -> tuple[str, ...] | None:
    """Those of the CONFIG_ options that this kernel was built without; None where that is not to be found out."""
    config = syscalls.kernel_config()
    return tuple(name for name in options if config.get(name) not in ("y", "m")) if config else None
