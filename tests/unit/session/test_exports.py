"""What the public packages export is a promise: a change here is a change of the API."""

from __future__ import annotations

import subprocess
import sys

import osmia
import osmia.session
import osmia.sinks


def test_osmia() -> None:
    assert osmia.__all__ == ["OsmiaError", "Trace", "__version__", "compile", "load", "trace"]
    assert dir(osmia) == osmia.__all__
    for name in osmia.__all__:
        assert getattr(osmia, name)


def test_packages_need_no_import_of_their_own() -> None:
    code = "import osmia, sys; assert 'osmia.vm' not in sys.modules; print(osmia.objects.Object, osmia.vm.VmTarget)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout.count("<class 'osmia.") == 2, done.stderr


def test_session() -> None:
    events = {"Attached", "BenchResult", "Cat", "Ended", "Event", "Join", "Lost", "MapSnapshot", "Message", "Print",
              "Printf", "RingRecord", "RuntimeFault", "System", "TestResult", "Text", "Time", "TraceLine"}  # fmt: skip
    values = {"Array", "Enum", "Histogram", "Pointer", "Record", "Stack", "Stats", "TimeSeries"}
    others = {
        "Child",
        "MapView",
        "Recorder",
        "Replay",
        "Session",
        "escape_bytes",
        "render",
        "replay",
        "run_benches",
        "run_tests",
    }
    assert set(osmia.session.__all__) == events | values | others
    for name in osmia.session.__all__:
        assert getattr(osmia.session, name).__doc__


def test_sinks() -> None:
    assert osmia.sinks.__all__ == ["JsonSink", "TextSink"]
    for name in osmia.sinks.__all__:
        assert getattr(osmia.sinks, name).__doc__
