"""What becomes of events: text for people, NDJSON for programs. A sink is called with one event at a time."""

from __future__ import annotations

from .._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._json import JsonSink
    from ._text import TextSink

__all__ = ["JsonSink", "TextSink"]


# A trace needs one of them: the other is not read.
__getattr__ = lazy(__name__, {"JsonSink": "_json", "TextSink": "_text"})
