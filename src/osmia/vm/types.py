"""Types of what callers give. Only type checkers read this module."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._events import Arguments as Arguments
    from ._machine import Helper as Helper
