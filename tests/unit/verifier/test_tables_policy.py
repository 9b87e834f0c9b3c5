"""Policies: what they forbid, and what a policy file must look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia.errors import FormatError
from osmia.isa import assemble
from osmia.verifier._policy import Policy, load_policy, map_bytes, parse_policy
from osmia.verifier._types import MapInfo, Program, Verdict

XDP = 6
WRITES = assemble("r1 = 0\nr2 = r10\nr3 = 8\ncall probe_write_user\ncall ktime_get_ns\nr0 = 2\nexit")
HASH = MapInfo(1, 4, 12, 1000, name="seen")


def rules(policy: str, program: Program, verdict: Verdict | None = None) -> list[tuple[str, int]]:
    return [(v.rule, v.insn) for v in parse_policy(policy).check(program, verdict)]


def test_nothing_is_forbidden_by_an_empty_policy() -> None:
    assert parse_policy("").check(Program(WRITES, XDP, maps=(HASH,)), Verdict(True, processed=10**6)) == ()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ('[helpers]\nallow = ["ktime_*"]', [("helpers.allow", 3)]),
        ('[helpers]\ndeny = ["bpf_probe_write_user"]', [("helpers.deny", 3)]),
        ('[helpers]\nallow = ["*"]\ndeny = ["ktime_get_ns"]', [("helpers.deny", 4)]),
        ("[helpers]\nallow = []", [("helpers.allow", 3), ("helpers.allow", 4)]),
        ('[helpers]\nallow = ["probe_write_user", "ktime_get_ns"]', []),
    ],
)
def test_helpers(policy: str, expected: list[tuple[str, int]]) -> None:
    assert rules(policy, Program(WRITES, XDP)) == expected


def test_an_immediate_is_no_call() -> None:
    load = bytes((0x18, 1, 0, 0)) + b"\x85\0\0\0" + bytes(4) + b"\x85\0\0\0"
    assert rules("[helpers]\nallow = []", Program(load + assemble("r0 = 0\nexit"), XDP)) == []


def test_programs() -> None:
    program = Program(WRITES, XDP, license="Proprietary", attach_to="eth0")
    assert rules('[programs]\ntypes = ["sched_cls"]', program) == [("programs.types", -1)]
    assert rules('[programs]\nattach = ["wlan*"]', program) == [("programs.attach", -1)]
    assert rules('[programs]\nattach = ["eth*"]\ntypes = ["xdp"]', program) == []
    assert rules('[programs]\nlicenses = ["GPL"]', program) == [("programs.licenses", -1)]


def test_maps_and_budgets() -> None:
    ring = MapInfo(27, 0, 0, 4096, name="events")
    program = Program(WRITES, XDP, maps=(HASH, ring))
    assert map_bytes(HASH) == 1000 * (4 + 16)
    assert rules('[maps]\ntypes = ["ringbuf"]', program) == [("maps.types", -1)]
    assert rules("[maps]\nmax_entries = 999", program) == [("maps.max_entries", -1)]
    assert rules("[maps]\nmax_bytes = 24095", program) == [("maps.max_bytes", -1)]
    assert rules("[maps]\nmax_bytes = 24096\nmax_entries = 1000", program) == []
    assert rules("[budget]\ninstructions = 6\nmaps = 1", program) == [("budget.instructions", -1), ("budget.maps", -1)]
    verdict = Verdict(True, processed=11, stack_depths=(200, 100))
    assert rules("[budget]\nwalked = 10\nstack = 299", program, verdict) == [
        ("budget.walked", -1),
        ("budget.stack", -1),
    ]
    assert rules("[budget]\nwalked = 11\nstack = 300", program, verdict) == []


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[helpers", "not TOML", ""),
        ("[helper]\nallow = []", "table [helper] is unknown", "did you mean helpers?"),
        ("helpers = 3", "helpers is no table", "[helpers]"),
        ("[helpers]\nallowed = []", "key helpers.allowed is unknown", "did you mean allow?"),
        ('[helpers]\nallow = "ktime_get_ns"', "helpers.allow is no list of strings", "allow = ["),
        ('[helpers]\nallow = ["ktime_get_nsec"]', "'ktime_get_nsec' is unknown", "ktime_get_ns"),
        ('[maps]\ntypes = ["hashh"]', "maps.types 'hashh' is unknown", "did you mean hash?"),
        ('[budget]\nstack = "512"', "budget.stack is no number", "stack = 4096"),
        ("[budget]\nstack = -1", "budget.stack is no number", ""),
        ("[budget]\nstack = true", "budget.stack is no number", ""),
    ],
)
def test_what_is_no_policy(text: str, message: str, hint: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_policy(text, "p.toml")
    assert str(caught.value).startswith("read policy p.toml: ")
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[budget]\nstack = 1\n")
    assert load_policy(str(path)) == Policy({}, {"budget.stack": 1}, str(path))
    with pytest.raises(OSError):
        load_policy(str(tmp_path / "none.toml"))
