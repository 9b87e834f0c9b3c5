# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""Run `begin` programs and get what they print and leave."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import osmia
from osmia.session import Print, Printf, RuntimeFault


class Result:
    """`printed`: values of print(), `records`: arguments of printf(), `maps`: as Python values, `faults`: run-time faults."""

    def __init__(self, script: str, **options: Any) -> None:
        # Not through the cache: these scripts are made once and never again.
        obj = osmia.compile(script, cache=False, **options)
        with osmia.trace(obj, duration=20) as trace:
            trace.wait()
            events = list(trace.events())
            self.maps = {
                name: view.value if view.scalar else distinct(view.items()) for name, view in trace.maps.items()
            }
            self.lost = trace.lost
        self.printed = [event.value for event in events if isinstance(event, Print)]
        self.records = [event.args for event in events if isinstance(event, Printf)]
        self.faults = [event for event in events if isinstance(event, RuntimeFault)]


def distinct(items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """The elements of a map. Keys that read alike but differ in their bytes are a bug in their making."""
    listed = list(items)
    assert len(dict(listed)) == len(listed), f"keys that look the same: {listed}"
    return dict(listed)


def begin(*bodies: str, head: str = "", **options: Any) -> Result:
    """One `begin` probe for each body, in order, then the end."""
    blocks = "\n".join(f"begin {{ {body} }}" for body in bodies)
    return Result(f"{head}\n{blocks}\nbegin {{ exit(); }}", **options)
