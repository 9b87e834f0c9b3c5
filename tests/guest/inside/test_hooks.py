"""What the verifier takes to depend on the target's name: the kernel's verdict is ours, and its last words."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
from _tables import measure

from osmia.btf import KIND_FUNC, load_kernel_btf
from osmia.isa import ATTACH_TYPES, PROG_TYPES, assemble
from osmia.verifier import Program, profile, verify

M = measure()
LIVE = profile(os.uname().release)
LSM, CGROUP = ("lsm", "lsm_mac"), ("lsm", "lsm_cgroup")
ENTRY, EXIT, MODIFY = ("tracing", "trace_fentry"), ("tracing", "trace_fexit"), ("tracing", "modify_return")
RETURNS = "r0 = {}\nexit"
ANYTHING = "call 7\nexit"
NEGATIVE = "call 7\nr1 = 0\nr1 -= r0\nr0 = r1\nexit"
LOW_HALF = "w0 = -13\nexit"
GIVEN = "r0 = *({} *)(r1 + 8)\nexit"
ZEROS = "".join(f"*(u64 *)(r10 - {at}) = 0\n" for at in (8, 16, 24, 32))
PATH = ZEROS + "r1 = *(u64 *)(r1 + 0)\nr2 = r10\nr2 += -32\nr3 = 32\ncall 147\nr0 = 0\nexit"
NO_PATH = "r1 = 0\nr2 = 0\nr3 = 0\ncall 147\nr0 = 0\nexit"
NUMBERS = (-5000, -4096, -4095, -1, 0, 1, 2)
CASES = [
    *[(LSM, "file_open", RETURNS.format(n)) for n in NUMBERS],
    *[(LSM, "file_open", text) for text in (ANYTHING, NEGATIVE, LOW_HALF, GIVEN.format("u64"), GIVEN.format("u32"))],
    *[(LSM, "inode_free_security", text) for text in (RETURNS.format(1), ANYTHING, "exit")],
    *[(LSM, "audit_rule_known", RETURNS.format(n)) for n in (-1, 0, 1, 2)],
    *[(LSM, "inode_xattr_skipcap", RETURNS.format(n)) for n in (-1, 1)],
    *[(room, hook, RETURNS.format(0)) for room in (LSM, CGROUP) for hook in ("getprocattr", "vm_enough_memory")],
    *[(CGROUP, "socket_create", RETURNS.format(n)) for n in NUMBERS],
    *[(CGROUP, "sk_free_security", RETURNS.format(n)) for n in (0, 1)],
    *[(room, f, PATH) for room in (ENTRY, EXIT) for f in ("vfs_truncate", "vfs_getattr", "vfs_statfs", "vfs_read")],
    *[(LSM, hook, PATH) for hook in ("path_truncate", "path_chmod", "path_chroot")],
    *[(MODIFY, f, RETURNS.format(0)) for f in ("vfs_read", "security_file_open", "__x64_sys_getpid", "vfs_statfs")],
]  # fmt: skip


@pytest.fixture(scope="module")
def kernel() -> object:
    return M.Kernel()


@pytest.mark.parametrize("license", ["GPL", "MIT"])
def test_the_kernel_says_the_same(kernel: object, license: str) -> None:
    wrong = []
    for room, name, text in CASES if license == "GPL" else CASES[:1]:
        target = f"bpf_lsm_{name}" if room[0] == "lsm" else name
        with closing(load_kernel_btf()) as types:
            there = types.find(target, KIND_FUNC) is not None
        if not there:
            continue
        code = assemble(text)
        error, said = kernel.load(room, code, target=target, license=license)  # type: ignore[attr-defined]
        program = Program(code, PROG_TYPES[room[0]], ATTACH_TYPES[room[1]], license=license, attach_to=name)
        verdict = verify(program, LIVE)
        if verdict.accepted == (error != 0) or (error and said and verdict.message not in said[-2:]):
            wrong.append(f"{room[1]} {name} {text!r}: {error} {said[-2:]}, we say {verdict.message or 'yes'!r}")
    assert not wrong, "\n".join(wrong)


def test_every_hook(kernel: object) -> None:
    """Which are closed, which give a boolean, and which are for bpf_d_path()."""
    wrong = []
    with closing(load_kernel_btf()) as types:
        hooks = sorted(name for name in types.funcs() if name.startswith("bpf_lsm_"))
        for target in hooks:
            for text in (RETURNS.format(1), NO_PATH):
                code = assemble(text)
                said = kernel.load(LSM, code, target=target)[1]  # type: ignore[attr-defined]
                if any("points to wrong type name" in line for line in said):
                    continue  # no hook, but something that is named like one
                to = target.removeprefix("bpf_lsm_")
                ours = verify(
                    Program(code, PROG_TYPES["lsm"], ATTACH_TYPES["lsm_mac"], attach_to=to, kernel=types), LIVE
                )
                if text == NO_PATH:
                    theirs = [line for line in said if "not allowed in probe" in line or "disabled" in line]
                    same = theirs == [m for m in (ours.message,) if "not allowed in probe" in m or "disabled" in m]
                else:
                    same = ours.message == (said[-1] if said else "")
                if not same:
                    wrong.append(f"{to} {text[:6]!r}: {said[-1:]}, we say {ours.message!r}")
    assert len(hooks) > 100
    assert not wrong, "\n".join(wrong)
