"""The questions that the tests of tables put to a kernel, shared with the tests in guests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from osmia.isa._tables import table
from osmia.verifier import _context, _prototypes
from osmia.verifier._profile import Profile

_SCRIPT = Path(__file__).parents[1] / "scripts" / "measure_verifier.py"
# Left out by many configurations, by lockdown or by the architecture.
CONFIGURED = {"probe_write_user", "get_cgroup_classid", "get_route_realm", "override_return", "get_branch_snapshot"}


def measure() -> ModuleType:
    """scripts/measure_verifier.py."""
    name = "measure_verifier"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _SCRIPT)
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def numbers(room: tuple[str, str]) -> tuple[int, int]:
    """Program type and attach type."""
    return table("PROG_TYPES")[room[0]], table("ATTACH_TYPES")[room[1]] if room[1] else 0


def wrong_helpers(kernel: object, room: tuple[str, str], profile: Profile) -> list[str]:
    """Helpers about which the table and the kernel disagree."""
    wrong = []
    prog, attach = numbers(room)
    for name, helper in table("HELPERS").items():
        if not helper or name in CONFIGURED:
            continue
        says = kernel.may_call(room, helper)  # type: ignore[attr-defined]
        ours = _prototypes.why_not(helper, prog, attach, profile)
        if bool(says) != bool(ours):
            wrong.append(f"{'/'.join(room)} {name}: kernel {says or 'allows'}, table {ours or 'allows'}")
    return wrong


def wrong_accesses(kernel: object, room: tuple[str, str], profile: Profile, offsets: object) -> list[str]:
    """Context accesses about which the table and the kernel disagree."""
    wrong = []
    prog, attach = numbers(room)
    measured = {(way, size, off): kind for way, size, off, kind in kernel.accesses(room, offsets)}  # type: ignore[attr-defined]
    for write in (False, True):
        for size in (1, 2, 4, 8):
            for off in offsets:  # type: ignore[attr-defined]
                found = _context.access(prog, attach, off, size, write, profile)
                ours = None if found is None else f"trusted_ptr_{found.struct}" if found.kind == "btf" else found.kind
                says = measured.get((write, size, off))
                if says != ours:
                    wrong.append(f"{'/'.join(room)} {'w' if write else 'r'} {off} {size}: kernel {says}, table {ours}")
    return wrong
