"""`profile` probes: at their rate, every running thread is stopped for a moment and its registers are the sample.

Only time on a CPU counts, as with the kernel's clock: a thread has a sample for each period that it ran. One that waits
for something at that moment is left alone.
"""

from __future__ import annotations

from time import monotonic_ns

from ..syscalls import ptrace as pt
from ._sources_ptrace_task import Tracee, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._sources_ptrace_loop import Loop
    from ._sources_ptrace_wanted import Fire

NEVER = 1 << 63
_TAIL = bytes(16)  # sample_period and addr of struct bpf_perf_event_data


class Sampler:
    """The rates of one loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._rates: list[list[int]] = []  # period, next time
        self._fires: list[Fire] = []
        self._pending: list[Fire] = []
        self._ran: dict[int, int] = {}  # thread -> its time on a CPU that samples were taken for, in ns
        loop.take_sample = self.take
        loop.on_due = self.due

    def load(self) -> None:
        """Follow what is wanted now."""
        now = monotonic_ns()
        self._rates, self._fires = [], []
        for point, fire in self.loop.wanted.samplers:
            period = point.period or 1_000_000_000 // max(1, point.frequency)
            self._rates.append([period, now + period])
            self._fires.append(fire)
        self._pending = []
        self.loop.due = min((rate[1] for rate in self._rates), default=NEVER)

    def due(self, now: int) -> int:
        """Ask all running threads for a sample; when to come again."""
        ready, period = [], 0
        for rate, fire in zip(self._rates, self._fires):
            if now >= rate[1]:
                ready.append(fire)
                period = max(period, rate[0])
                rate[1] = max(rate[1] + rate[0], now)  # one that was missed is not made up for
        if ready:
            self._pending = ready
            for tid, thread in self.loop.threads.items():
                if thread.sample or not self._has_run(tid, period) or state_of(tid) != "R":
                    continue
                thread.sample = thread.asked = pt.ptrace(pt.INTERRUPT, tid) == 0
        return min((rate[1] for rate in self._rates), default=NEVER)

    def _has_run(self, tid: int, period: int) -> bool:
        """Whether the thread was on a CPU for a period, half of one more or less, that had no sample yet."""
        try:
            with open(f"/proc/{tid}/schedstat", "rb", buffering=0) as file:
                total = int(file.read(64).split(b" ", 1)[0])
        except (OSError, ValueError):
            return True  # a kernel without CONFIG_SCHED_INFO: what runs now has run
        done = self._ran.setdefault(tid, total)
        if total - done < period // 2:
            return False
        # Samples are not made up for in a row: at most one period of credit is kept.
        self._ran[tid] = max(done + period, total - period)
        return True

    def take(self, thread: Tracee) -> None:
        """The thread has stopped for its sample."""
        thread.sample = False
        registers = self.loop.registers
        if registers.get(thread.pid) < 0:
            return
        record = registers.pt_regs() + _TAIL
        for fire in self._pending:
            fire(record, thread)
