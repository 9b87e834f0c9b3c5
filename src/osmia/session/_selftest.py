"""`test:` and `bench:` probes: programs that user space runs, and what came of them."""

from __future__ import annotations

from . import _events as ev

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._session import Session

# The kernel wants an Ethernet header to run a packet program on (net/bpf/test_run.c, since 6b3d638ca897, 6.18).
PACKET = bytes(14)
# (run time so far in nanoseconds, factor): repeats grow until a run takes a millisecond.
GROWTH = ((1_000, 1000), (10_000, 100), (100_000, 10), (1_000_000, 2))


def run_tests(session: Session) -> bool:
    """Run all `test:` programs, emit a `TestResult` for each. A test passes when it returns 0, exits with 0 or not at
    all, and reports no error. Whether all passed."""
    loaded = session.load()
    points = [p for p in session.object.attach_points if p.provider == "test"]
    emit, good = session.emit, True
    for index, point in enumerate(points):
        said: list[ev.Event] = []
        session.emit = said.append
        session.resume()
        result = loaded.programs[point.program].test_run(PACKET, repeat=1)
        session.drain()
        session.emit = emit
        failed = any(type(e) is ev.Message and e.severity == "error" for e in said)
        passed = result.retval == 0 and session.status == 0 and not failed
        good = good and passed
        emit(ev.TestResult(_name(point.target, point.function), index, len(points), passed, result.duration, said))
    session.status = 0 if good else 1
    return good


def run_benches(session: Session) -> bool:
    """Run all `bench:` programs, each until it took a millisecond, and emit a `BenchResult`. False when one failed.

    One that returns a number other than 0 is left out.
    """
    loaded = session.load()
    points = [p for p in session.object.attach_points if p.provider == "bench"]
    names = tuple(_name(p.target, p.function) for p in points)
    emit, good = session.emit, True
    for index, point in enumerate(points):
        repeat = 1
        while True:
            said: list[ev.Event] = []
            session.emit = said.append
            session.resume()
            result = loaded.programs[point.program].test_run(PACKET, repeat=repeat)
            session.drain()
            session.emit = emit
            if session.status == 0 and result.retval:
                break
            factor = next((f for limit, f in GROWTH if result.duration * repeat < limit), 0)
            if factor:
                repeat *= factor
                continue
            if session.status or any(type(e) is ev.Message and e.severity == "error" for e in said):
                good = False
            else:
                emit(ev.BenchResult(names[index], index, names, result.duration, repeat))
            break
    session.status = 0 if good else 1
    return good


def _name(target: str, function: str) -> str:
    return function or target
