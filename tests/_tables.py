"""The questions that the tests of tables put to a kernel, shared with the tests in guests."""

from __future__ import annotations

import importlib.util
import re
import sys
from itertools import product
from pathlib import Path
from types import ModuleType

from osmia.isa import Instruction
from osmia.isa._tables import table
from osmia.verifier import _context, _context_btf, _encodings, _prototypes
from osmia.verifier._profile import Profile
from osmia.verifier._structure import OPCODES

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


def wrong_arguments(kernel: object, room: tuple[str, str], name: str, profile: Profile) -> list[str]:
    """Arguments of a function, tracepoint, hook or iterator about which we and the kernel disagree; `name` is BTF's."""
    m = measure()
    prog, attach = numbers(room)
    args = _context_btf.arguments(kernel.btf, prog, attach, name, profile)  # type: ignore[attr-defined]
    assert args is not None
    exits = next((code for code in (m.leave(0), m.leave(1)) if not kernel.load(room, code, target=name)[0]), None)  # type: ignore[attr-defined]
    if exits is None:
        return []  # the kernel attaches nothing there
    wrong = []
    for number in range(len(args.types) + 2):
        for size, code in ((8, 0x79), (4, 0x61), (1, 0x71)):
            errno, lines = kernel.load(room, m.insn(code, 2, 1, 8 * number) + exits, level=2, target=name)  # type: ignore[attr-defined]
            found = re.search(r"\bR2(?:_w)?=([a-z_0-9A-Z]+)", "\n".join(lines))
            says = None if errno else found.group(1) if found else "scalar"
            access = _context_btf.btf_access(kernel.btf, args, 8 * number, size, False)  # type: ignore[attr-defined]
            if says != _as_kernel(access):
                wrong.append(f"{name} {number} size {size}: kernel {says} {lines[-1:] if errno else ''}, we {access}")
    return wrong


def _as_kernel(access: _context.Access | None) -> str | None:
    if access is None or not access.kind.startswith("btf"):
        return access.kind if access else None
    null = "or_null_" if access.kind.endswith("null") else ""
    return f"{'trusted_' if access.trusted else ''}ptr_{null}{access.struct}"


def wrong_encodings(kernel: object, profile: Profile) -> list[str]:
    """Instructions that the kernel calls unknown or wrongly encoded and we do not, or the other way round."""
    m, wrong = measure(), []
    start = m.insn(0xB7, 0, imm=4) + m.insn(0xB7, 1, imm=2)
    for code in range(256):
        for src, off, imm in product((0, 1), (0, 1, 8), (0, 1, 16, 0x100)):
            ours = Instruction(code, 0, src, off, imm)
            errno, lines = kernel.load(  # type: ignore[attr-defined]
                ("socket_filter", ""), start + m.insn(code, 0, src, off, imm) + m.insn(0xB7) * 9 + m.insn(0x95)
            )
            says = lines[-1] if errno and lines else ""
            known, later = _encodings.unknown(ours, profile), _encodings.reserved(ours, profile)
            # The graph is looked at in between.
            if says != known if known else later and (not errno or ("reserved" in says and says != later)):
                wrong.append(f"{code:#x} src {src} off {off} imm {imm}: kernel {says!r}, we {known or later!r}")
            elif not known and code in OPCODES and says.startswith("unknown opcode"):
                wrong.append(f"{code:#x} src {src} off {off} imm {imm}: kernel {says!r}")
    return wrong
