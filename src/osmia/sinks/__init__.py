"""What becomes of events: text for people, NDJSON for programs. A sink is called with one event at a time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._json import JsonSink
    from ._text import TextSink

__all__ = ["JsonSink", "TextSink"]


def __getattr__(name: str) -> object:
    # A trace needs one of them: the other is not read.
    if name == "TextSink":
        from ._text import TextSink

        return TextSink
    if name == "JsonSink":
        from ._json import JsonSink

        return JsonSink
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
