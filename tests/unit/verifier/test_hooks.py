"""What depends on the very function that a program attaches to."""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia.btf import Btf, BtfBuilder
from osmia.isa import ATTACH_TYPES, PROG_TYPES, assemble
from osmia.verifier import Program, Verdict, profile, verify

RETURNS = "r0 = {}\nexit"
ZEROS = "".join(f"*(u64 *)(r10 - {at}) = 0\n" for at in (8, 16, 24, 32))
D_PATH = ZEROS + "r1 = *(u64 *)(r1 + 0)\nr2 = r10\nr2 += -32\nr3 = 32\ncall 147\nr0 = 0\nexit"


@pytest.fixture(scope="module")
def kernel() -> Btf:
    """Hooks and functions of a kernel, each with a `struct path *` as its one argument."""
    b = BtfBuilder()
    number = b.int("int", 4, signed=True)
    path = b.ptr(b.struct("path", 16, [("mnt", b.int("unsigned long", 8), 0)]))
    for name in (
        "bpf_lsm_file_open", "bpf_lsm_audit_rule_known", "bpf_lsm_getprocattr", "bpf_lsm_path_chroot", "vfs_read",
        "vfs_truncate", "security_file_open", "bpf_iter_task", "hid_bpf_event",
    ):  # fmt: skip
        b.func(name, b.func_proto(number, [("path", path)]))
    b.func("bpf_lsm_inode_free_security", b.func_proto(0, [("path", path)]))
    return Btf(b.build())


@pytest.fixture
def ask(kernel: Btf, monkeypatch: pytest.MonkeyPatch) -> object:
    """`ask(attach, target, text, version)`: the verdict; the types are this machine's."""
    monkeypatch.setattr("osmia.btf.load_kernel_btf", lambda: Btf(kernel.data))

    def verdict(attach: str, to: str, text: str, version: str = "6.12", license: str = "GPL") -> Verdict:
        kind = "lsm" if attach.startswith("lsm") else "tracing"
        program = Program(assemble(text), PROG_TYPES[kind], ATTACH_TYPES[attach], license=license, attach_to=to)
        return verify(program, profile(version))

    return verdict


RANGE = "At program exit the register R0 has smin={0} smax={0} should have been in [{1}]"


@pytest.mark.parametrize(
    ("hook", "number", "said"),
    [
        ("file_open", 0, ""),
        ("file_open", -4095, ""),
        ("file_open", -4096, RANGE.format(-4096, "-4095, 0")),
        ("file_open", 1, RANGE.format(1, "-4095, 0")),
        ("audit_rule_known", 1, ""),
        ("audit_rule_known", -1, RANGE.format(-1, "0, 1")),
        ("inode_free_security", 77, ""),
    ],
)
def test_what_lsm_programs_return(ask: object, hook: str, number: int, said: str) -> None:
    assert ask("lsm_mac", hook, RETURNS.format(number)).message == said  # type: ignore[operator]
    assert ask("lsm_mac", hook, RETURNS.format(number), "6.11").accepted  # type: ignore[operator]


def test_what_the_hook_has_returned_so_far_may_be_returned(ask: object) -> None:
    assert ask("lsm_mac", "file_open", "r0 = *(u64 *)(r1 + 8)\nexit").accepted  # type: ignore[operator]
    assert ask("lsm_mac", "file_open", "r0 = *(u32 *)(r1 + 8)\nexit").accepted  # type: ignore[operator]
    assert not ask("lsm_mac", "file_open", "call 7\nexit").accepted  # type: ignore[operator]


@pytest.mark.parametrize("version", ["6.1", "6.12"])
def test_what_programs_for_hooks_of_a_cgroup_return(ask: object, version: str) -> None:
    taken = {n for n in (-1, 0, 1, 2) if ask("lsm_cgroup", "file_open", RETURNS.format(n), version).accepted}  # type: ignore[operator]
    assert taken == {0, 1}
    void = {n for n in (-1, 0, 1, 2) if ask("lsm_cgroup", "inode_free_security", RETURNS.format(n), version).accepted}  # type: ignore[operator]
    assert void == {1}


def test_hooks_that_are_closed_and_licenses(ask: object) -> None:
    closed = ask("lsm_mac", "getprocattr", RETURNS.format(0))  # type: ignore[operator]
    assert closed.message.endswith("points to disabled hook bpf_lsm_getprocattr")
    assert closed.explanation.reason == "since Linux 6.12 the hook getprocattr takes no BPF programs"
    assert ask("lsm_mac", "getprocattr", RETURNS.format(0), "6.11").accepted  # type: ignore[operator]
    licensed = ask("lsm_mac", "file_open", RETURNS.format(0), license="MIT")  # type: ignore[operator]
    assert licensed.message == "LSM programs must have a GPL compatible license"


@pytest.mark.parametrize(
    ("attach", "to", "version", "taken"),
    [
        ("trace_fentry", "vfs_read", "6.12", False),
        ("trace_fentry", "vfs_truncate", "6.12", True),
        ("trace_fexit", "vfs_truncate", "5.10", True),
        ("lsm_mac", "file_open", "6.12", True),
        ("lsm_mac", "file_open", "5.10", False),
        ("lsm_mac", "path_chroot", "6.12", False),
    ],
)
def test_who_may_call_d_path(ask: object, attach: str, to: str, version: str, taken: bool) -> None:
    verdict = ask(attach, to, D_PATH, version)  # type: ignore[operator]
    assert verdict.accepted is taken, verdict.message
    if not taken:
        assert verdict.message == "helper call is not allowed in probe"
        assert verdict.explanation.reason == f"bpf_d_path() may not be called from programs on {to}"


def test_what_fmod_ret_takes(ask: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As far as it is known: of this machine's kernel, where its list can be read."""
    monkeypatch.setattr("osmia.syscalls.kernel_version", lambda: (6, 12, 0))
    monkeypatch.setattr("osmia.verifier._hooks.DEBUGFS", str(tmp_path))
    functions = ("vfs_read", "vfs_truncate", "security_file_open", "hid_bpf_event")

    def taken(version: str) -> list[str]:
        return [f for f in functions if ask("modify_return", f, RETURNS.format(0), version).accepted]  # type: ignore[operator]

    assert taken("6.12") == list(functions)
    (tmp_path / "bdi").mkdir()
    assert taken("6.12") == ["security_file_open", "hid_bpf_event"]
    (tmp_path / "error_injection").mkdir()
    assert taken("6.12") == list(functions)  # who cannot read it does not know
    (tmp_path / "error_injection/list").write_text("vfs_truncate\tERRNO\n\nshould_failslab\tERRNO\n")
    assert taken("6.12") == ["vfs_truncate", "security_file_open", "hid_bpf_event"]
    assert taken("6.1") == list(functions)
    verdict = ask("modify_return", "vfs_read", RETURNS.format(0))  # type: ignore[operator]
    assert verdict.message == "vfs_read() is not modifiable"
    assert verdict.explanation.reason == "fmod_ret cannot replace what vfs_read() returns"
