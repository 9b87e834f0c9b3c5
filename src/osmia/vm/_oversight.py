"""What a host may demand of programs beyond safety: a policy at the load, a quota at every run, a log of loads."""

from __future__ import annotations

import os
import time

from .._data import Data
from ..errors import UsageError, VerifierError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from ..objects import MapSpec, Object, ProgramSpec
    from ..verifier import Policy, Program, Verdict

    Entry: TypeAlias = Mapping[str, object]

SECOND = 1_000_000_000


class Quota(Data):
    """What one program may use; 0 sets no limit. Runs beyond it are skipped, counted, and reported.

    `runs` is a second's; `share` the part of a second that its runs may take, 0.01 being one hundredth of a CPU;
    `map_bytes` is what the keys and values of all maps of an object take, and is refused at the load.
    """

    runs: int = 0
    share: float = 0.0
    map_bytes: int = 0


class Meter:
    """One program's use: `runs` and `nanoseconds` in all, `skipped` runs that the quota forbade."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.runs = 0
        self.nanoseconds = 0
        self.skipped = 0
        self._until = 0
        self._runs_left = quota.runs
        self._time_left = int(quota.share * SECOND)

    def admit(self, now: int) -> bool:
        """Whether the program may run at `now` (nanoseconds)."""
        if now >= self._until:
            self._until = now + SECOND
            self._runs_left = self.quota.runs
            # What the last run took beyond its share is taken from the next second.
            self._time_left = min(self._time_left, 0) + int(self.quota.share * SECOND)
        if (self.quota.runs and self._runs_left <= 0) or (self.quota.share and self._time_left <= 0):
            self.skipped += 1
            return False
        self._runs_left -= 1
        self.runs += 1
        return True

    def spent(self, nanoseconds: int) -> None:
        """A run took so long."""
        self.nanoseconds += nanoseconds
        self._time_left -= nanoseconds


class Oversight:
    """The three together; any of them may be None. `audit` is a path, to which a JSON line is added for each load and
    each refusal, or is called with what such a line holds."""

    def __init__(
        self,
        policy: Policy | None = None,
        quota: Quota | None = None,
        audit: str | os.PathLike[str] | Callable[[Entry], None] | None = None,
    ) -> None:
        self.policy = policy
        self.quota = quota
        self._audit = audit

    @property
    def is_on(self) -> bool:
        """Whether loads are judged or logged."""
        return self.policy is not None or self._audit is not None

    def meter(self) -> Meter | None:
        """A new program's meter; None where nothing is limited as it runs."""
        quota = self.quota
        return Meter(quota) if quota is not None and (quota.runs or quota.share) else None

    def judge(self, spec: ProgramSpec, program: Program, verdict: Verdict, *, unverified: bool = False) -> None:
        """Log the program; VerifierError, with all of the policy's violations, where the policy forbids it. With
        `unverified`, it runs in checked mode whatever the verdict is."""
        found = self.policy.check(program, verdict) if self.policy is not None else ()
        taken = verdict.accepted or unverified
        outcome = (
            "refused" if not taken else "forbidden" if found else "loaded" if verdict.accepted else "loaded checked"
        )
        self._note(spec, program, outcome, [f"{v.rule}: {v.message}" for v in found] or [verdict.message])
        if found and taken:
            raise VerifierError(
                f"load {spec.name}: the policy forbids it: " + "; ".join(f"{v.message} ({v.rule})" for v in found),
                program=spec.name,
                log=verdict.log,
                hint="change the program, or the policy",
            )

    def weigh_maps(self, obj: Object, cpus: int) -> None:
        """UsageError where the object's maps take more than the quota has. Per-CPU maps have a value for each CPU."""
        limit = self.quota.map_bytes if self.quota is not None else 0
        if not limit:
            return
        sizes = {m.name: _weight(m, cpus) for m in obj.maps}
        total = sum(sizes.values())
        if total > limit:
            largest = max(sizes, key=lambda name: sizes[name])
            raise UsageError(
                f"load object: its maps take {total} bytes, {limit} are allowed",
                hint=f"make {largest} smaller: it takes {sizes[largest]}",
            )

    def _note(self, spec: ProgramSpec, program: Program, outcome: str, reasons: list[str]) -> None:
        if self._audit is None:
            return
        from hashlib import sha256

        from ..isa import prog_type_name

        entry = {
            "time": time.time_ns(),
            "pid": os.getpid(),
            "uid": os.getuid(),
            "program": spec.name,
            "section": spec.section,
            "type": prog_type_name(spec.type) or str(spec.type),
            "license": program.license,
            "instructions": len(program.insns) // 8,
            "sha256": sha256(program.insns).hexdigest(),
            "maps": [m.name for m in program.maps],
            "outcome": outcome,
            "reasons": [r for r in reasons if r],
        }
        if callable(self._audit):
            self._audit(entry)
            return
        import json

        path = os.fspath(self._audit)
        line = (json.dumps(entry) + "\n").encode()
        try:
            # One write of a file opened for appending: lines of several processes do not mix.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)
        except OSError as e:
            raise UsageError(
                f"load {spec.name}: cannot write the audit log {path}: {os.strerror(e.errno or 0).lower()}",
                hint="nothing is loaded that cannot be logged",
            ) from None


def _weight(spec: MapSpec, cpus: int) -> int:
    """Bytes of a map's keys and values; of a ring, of its data."""
    from ..isa import map_types as types

    if spec.type in (types.RINGBUF, types.USER_RINGBUF):
        return spec.max_entries
    copies = cpus if spec.type in (types.PERCPU_ARRAY, types.PERCPU_HASH, types.LRU_PERCPU_HASH) else 1
    return (spec.key_size + copies * spec.value_size) * max(spec.max_entries, 1)
