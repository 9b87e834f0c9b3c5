"""Whether a program may run unchecked: the newest kernel's verifier is asked once for each."""

from __future__ import annotations

import os

from ..errors import VerifierError
from ._oversight import Oversight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Cache, Object, ProgramSpec

_MOST_ACCEPTED = 4096
_accepted: dict[bytes, None] = {}  # keys of verdicts, the oldest first


def require_verdict(
    obj: Object, spec: ProgramSpec, oversight: Oversight, *, refuse: bool, cache: Cache | None = None
) -> None:
    """VerifierError when the newest kernel's verifier would refuse the program, or the policy does. Without `refuse`,
    programs are verified for the policy and the log alone. What was accepted once is in the cache, and known to this
    process: a test run loads one object many times."""
    if not refuse and not oversight.is_on:
        return
    key = b""
    if not oversight.is_on:
        key = verdict_key(obj, spec)
        if key in _accepted or (cache is not None and cache.get_value(key) == (True,)):
            return
    from ..verifier import from_spec, verify

    program = from_spec(obj, spec)
    verdict = verify(program)
    oversight.judge(spec, program, verdict, unverified=not refuse)
    if verdict.accepted and key:
        if len(_accepted) >= _MOST_ACCEPTED:
            del _accepted[next(iter(_accepted))]
        _accepted[key] = None
        if cache is not None:
            cache.put_value(key, (True,))
    if verdict.accepted or not refuse:
        return
    found = verdict.explanation
    where = f" at {found.place.file}:{found.place.line}" if found and found.place.line else ""
    reason = f"{found.reason}: " if found and found.reason and found.reason != verdict.message else ""
    error = VerifierError(
        f"load {spec.name}: the verifier refused it{where}: {reason}{verdict.message}",
        errno=verdict.errno,
        program=spec.name,
        log=verdict.log,
        file=found.place.file if found else "",
        line=found.place.line if found else 0,
        source_line=found.place.source if found else "",
        hint=found.remedy if found else "",
    )
    if found:
        error.add_note(found.render())  # with the way there: seen where a traceback is, as in a failed test
    raise error


def verdict_key(obj: Object, spec: ProgramSpec) -> bytes:
    """All that a verdict depends on; of data sections, contents that cannot change. Relocations, and functions of the
    kernel, are resolved in the types of the kernel that runs."""
    from .._version import __version__
    from ..objects import cache_key, pack

    maps = tuple(m if m.frozen or m.contents is None else m.replace(contents=None) for m in obj.maps)
    functions = (spec.function, *obj.subprograms)
    asks = any(f.core or any(r.kind in ("kfunc", "ksym") for r in f.relocations) for f in functions)
    kernel = " ".join(os.uname()[2:4]) if asks else ""
    parts = pack((spec, obj.subprograms, maps, obj.license, obj.version))
    return cache_key("verified", __version__, kernel, parts, obj.btf)
