"""What a denial says: only what was established; where the cause is not known, what it may be and how to look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osmia import syscalls
from osmia.errors import PermissionDenied
from osmia.syscalls import _explain

TRACING = {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"}


@pytest.fixture
def machine(monkeypatch):
    """Sets what this process holds and what can be found out about the machine."""

    def arrange(held=(), lockdown="", seccomp=0, namespace=False):
        monkeypatch.setattr(_explain, "effective_capabilities", lambda: frozenset(held))
        monkeypatch.setattr(_explain, "lockdown", lambda: lockdown)
        monkeypatch.setattr(_explain, "seccomp", lambda: seccomp)
        monkeypatch.setattr(_explain, "in_user_namespace", lambda: namespace)

    return arrange


def denied(operation="bpf(BPF_PROG_LOAD)", capability="CAP_BPF", detail="p", errno=1):
    error = syscalls.explain(operation, errno, detail, capability)
    assert isinstance(error, PermissionDenied)
    return error


@pytest.fixture
def closed(tmp_path: Path) -> str:
    """A folder of another user, as tracefs is root's."""
    folder = tmp_path / "tracing"
    folder.mkdir()
    folder.chmod(0)
    yield str(folder)
    folder.chmod(0o700)


@pytest.mark.parametrize("held", [set(), TRACING, TRACING | {"CAP_NET_ADMIN"}])
@pytest.mark.parametrize("lockdown", ["", "none", "integrity"])
def test_a_closed_file_is_a_matter_of_its_own_capability(machine, closed, held, lockdown):
    """Whatever else is held, and whatever lockdown says."""
    machine(held, lockdown)
    error = denied("open", "CAP_DAC_READ_SEARCH", closed, 13)
    assert error.message == f"open {closed}: CAP_DAC_READ_SEARCH is missing"
    assert error.capability == "CAP_DAC_READ_SEARCH" and "cap_dac_read_search" in error.hint


def test_a_file_that_its_mode_opens_is_closed_by_something_else(machine, tmp_path):
    machine(TRACING, "none")
    error = denied("open", "CAP_DAC_READ_SEARCH", str(tmp_path), 13)
    assert "CAP_DAC_READ_SEARCH is missing" not in error.message and not error.capability
    assert "it may be" in error.hint


def test_what_closes_a_path(closed, tmp_path):
    (tmp_path / "file").write_text("")
    assert _explain.closed_by_mode(f"{closed}/events/x/id") == closed
    assert _explain.closed_by_mode(str(tmp_path / "file")) == ""
    assert _explain.closed_by_mode(f"{closed}/new/deep", write=True) == closed
    assert _explain.closed_by_mode(str(tmp_path / "new"), write=True) == ""
    if os.geteuid():
        assert _explain.closed_by_mode("/etc/shadow") == "/etc/shadow"
        assert _explain.closed_by_mode("/new", write=True) == "/"


def test_lockdown_is_not_blamed_for_what_it_may_not_have_done(machine):
    machine(TRACING | {"CAP_NET_ADMIN"}, "integrity")
    error = denied()
    assert error.message == (
        "call bpf(BPF_PROG_LOAD) p: CAP_BPF is held, and the kernel refuses it all the same (EPERM)"
    )
    assert error.capability == ""
    assert "it may be lockdown, which is in mode integrity (" in error.hint and "; or a security module (" in error.hint
    assert "seccomp" not in error.hint and "missing" not in error.hint


def test_what_is_ruled_out_is_not_listed(machine):
    machine(TRACING | {"CAP_NET_ADMIN"}, "none", seccomp=0)
    assert denied().hint.startswith("it may be a security module (")
    machine(TRACING, "", seccomp=2)
    hint = denied().hint
    places = [
        hint.index(word)
        for word in ("seccomp filter", "CAP_NET_ADMIN, which is missing", "lockdown", "security module")
    ]
    assert places == sorted(places)


def test_a_paranoid_kernel_comes_first(machine, monkeypatch):
    """Debian's kernels take CAP_SYS_ADMIN for perf events where the sysctl is above 2, as it is by default."""
    machine({"CAP_BPF", "CAP_PERFMON"}, "none")
    monkeypatch.setattr(_explain, "sysctl", lambda name: 3)
    hint = denied("perf_event_open", "CAP_PERFMON", "", 13).hint
    assert hint.startswith("it may be kernel.perf_event_paranoid, which is 3: ")
    assert "sudo sysctl kernel.perf_event_paranoid=2" in hint
    assert "perf_event_paranoid" not in denied("bpf(BPF_PROG_LOAD)", "CAP_PERFMON").hint
    monkeypatch.setattr(_explain, "sysctl", lambda name: 2)
    assert "perf_event_paranoid" not in denied("perf_event_open", "CAP_PERFMON", "", 13).hint


@pytest.mark.parametrize(
    ("wanted", "held", "missing"),
    [
        ("CAP_BPF", {"CAP_SYS_ADMIN"}, False),
        ("CAP_PERFMON", {"CAP_SYS_ADMIN"}, False),
        ("CAP_NET_ADMIN", {"CAP_SYS_ADMIN"}, False),
        ("CAP_SYSLOG", {"CAP_SYS_ADMIN"}, True),
        ("CAP_SYS_PTRACE", {"CAP_SYS_ADMIN"}, True),
        ("CAP_SYS_ADMIN", {"CAP_BPF", "CAP_PERFMON"}, True),
    ],
)
def test_which_capability_stands_for_another(machine, wanted, held, missing):
    machine(held)
    assert (f"{wanted} is missing" in denied(capability=wanted).message) == missing


def test_what_is_held_stays_in_the_command(machine):
    machine({"CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH", "CAP_CHOWN"})
    command = syscalls.grant_command("CAP_SYS_ADMIN")
    assert command == (
        "sudo capsh --keep=1 --user=$USER --inh=cap_bpf,cap_perfmon,cap_sys_admin,cap_dac_read_search "
        "--addamb=cap_bpf,cap_perfmon,cap_sys_admin,cap_dac_read_search --"
    )
    assert "cap_syslog" in syscalls.grant_command("CAP_SYSLOG")


def test_this_process_has_a_seccomp_mode():
    assert _explain.seccomp() in (0, 1, 2)


def test_tracefs_that_may_be_mounted_and_is_refused_all_the_same(machine, monkeypatch):
    """CAP_SYS_ADMIN is not said to be missing where it is held."""
    from osmia.syscalls import _host

    monkeypatch.setattr(_host, "syscall", lambda *_args: -1)
    machine(TRACING, "none")
    with pytest.raises(PermissionDenied, match="CAP_SYS_ADMIN is held, and the kernel refuses") as caught:
        _host._private_mount()
    assert not caught.value.capability and "a security module" in caught.value.hint
    machine(set())
    with pytest.raises(PermissionDenied, match="not mounted, and CAP_SYS_ADMIN is missing"):
        _host._private_mount()
