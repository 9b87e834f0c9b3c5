"""Running a script while a workload does its known work: what tests of the language share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _workloads import Workload

import osmia
from osmia.session import Ended, Event, Message, Printf
from osmia.sinks import TextSink

SOURCES = str(Path(osmia.__file__).parents[1])
LIMIT_S = 30


class Outcome:
    """What a script said and left: `maps` as Python values (dicts for keyed maps), `text` as the command prints it.

    `final` are the maps printed at the end, `talk` what goes to stderr.
    """

    def __init__(self, done: dict[str, Any], events: Sequence[Event], maps: dict[str, Any], trace: osmia.Trace) -> None:
        self.done = done
        self.events = list(events)
        self.maps = maps
        self.status = trace.status
        self.lost = trace.lost
        self.warnings = trace.warnings
        out: list[str] = []
        talk: list[str] = []
        sink = TextSink(out.append, talk.append)
        end = next((i for i, event in enumerate(self.events) if isinstance(event, Ended)), len(self.events))
        for event in self.events[:end]:
            sink(event)
        self.text = "".join(out)
        out.clear()
        for event in self.events[end + 1 :]:
            sink(event)
        self.final = "".join(out)
        self.talk = "".join(talk)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def records(self) -> list[tuple[Any, ...]]:
        """The values given to each printf()."""
        return [event.args for event in self.events if isinstance(event, Printf)]

    @property
    def messages(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Message)]


def run(script: str, *params: object, work: Workload | None = None, **options: Any) -> Outcome:
    """Run `script` from before `work`'s gate opens until its end; without `work` until the script ends itself."""
    options.setdefault("duration", LIMIT_S)
    done: dict[str, Any] = {}
    with osmia.trace(script, *map(str, params), **options) as trace:
        events = trace.poll(0)
        if work:
            done = work.finish()
            trace.stop()
        trace.wait()
        events += trace.events()
        maps = {name: view.value if view.scalar else dict(view.items()) for name, view in trace.maps.items()}
        repr(maps)  # stacks look their names up on first use, while the trace is open
        return Outcome(done, events, maps, trace)


class Command(subprocess.Popen[str]):
    """A started command; as a context manager it never outlives its block, whatever fails there."""

    def __exit__(self, *exc: Any) -> None:
        if self.poll() is None:
            self.kill()
        super().__exit__(*exc)


def start_command(*argv: str, **options: Any) -> Command:
    """Start `osmia ARGV...`, the one under test, with its output on pipes."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
    return Command(
        [sys.executable, "-m", "osmia", *argv], text=True, env={**os.environ, "PYTHONPATH": SOURCES}, **options
    )


def command(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `osmia ARGV...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "osmia", *argv],
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
        **options,
    )
