"""Facts and explanations: nothing here needs a privilege."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from osmia import syscalls
from osmia.errors import KernelError, PermissionDenied
from osmia.syscalls import _caps, _explain


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", [0]), ("0-3", [0, 1, 2, 3]), ("0-1,4,6-7\n", [0, 1, 4, 6, 7]), ("", [])]
)
def test_cpu_lists(text, cpus):
    assert syscalls.parse_cpu_list(text) == cpus


def test_cpus_of_this_machine():
    assert set(syscalls.cpu_list("online")) <= set(syscalls.cpu_list("possible"))
    assert len(syscalls.cpu_list("online")) == os.cpu_count()


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.44-fc-v669", (6, 18, 44)),
        ("5.4.0", (5, 4, 0)),
        ("6.1", (6, 1, 0)),
        ("5.15.0+", (5, 15, 0)),
        ("6.12.0rc3", (6, 12, 0)),
    ],
)
def test_kernel_versions(release, version):
    assert syscalls.kernel_version(release) == version


def test_object_names_fit_the_kernel():
    assert syscalls.object_name("sys_enter_openat_and_more") == b"sys_enter_opena"
    assert syscalls.object_name("@x[1]") == b"_x_1_"
    assert syscalls.object_name("größe.x") == b"gr__e.x"


def test_capability_numbers_agree_with_the_headers():
    names = _caps.CAPABILITIES
    assert [names.index(n) for n in ("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYSLOG", "CAP_PERFMON", "CAP_BPF")] == [
        12, 21, 34, 38, 39,
    ]  # fmt: skip
    assert syscalls.capability_names(1 << 39 | 1) == {"CAP_BPF", "CAP_CHOWN"}


ALL = {"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"}


@pytest.mark.parametrize(
    ("held", "capability", "cause"),
    [
        (set(), "CAP_BPF", "CAP_BPF is missing"),
        ({"CAP_BPF"}, "CAP_PERFMON", "CAP_PERFMON is missing"),
        ({"CAP_BPF"}, "CAP_NET_ADMIN", "CAP_NET_ADMIN is missing"),
        (ALL, "CAP_BPF", "user namespace"),
    ],
)  # fmt: skip
def test_denials_name_what_is_missing(monkeypatch, held, capability, cause):
    monkeypatch.setattr(_explain, "effective_capabilities", lambda: frozenset(held))
    monkeypatch.setattr(_explain, "in_user_namespace", lambda: True)
    error = syscalls.explain("bpf(BPF_PROG_LOAD)", 1, "p", capability)
    assert isinstance(error, PermissionDenied)
    assert error.capability == ("" if held == ALL else capability)
    assert cause in error.message
    assert error.hint
    assert error.errno == 1


def test_other_errors_are_in_plain_words():
    error = syscalls.explain("bpf(BPF_MAP_CREATE)", 24, "counts")
    assert type(error) is KernelError
    assert str(error) == "call bpf(BPF_MAP_CREATE) counts: too many open files (raise the limit: ulimit -n 65536)"


def test_wrong_descriptors_are_errors_not_crashes():
    bad = 1 << 20
    calls = [
        lambda: syscalls.map_lookup(bad, b"aaaa", 8),
        lambda: syscalls.map_delete(bad, b"aaaa"),
        lambda: syscalls.map_next_key(bad, None, 4),
        lambda: syscalls.map_freeze(bad),
        lambda: syscalls.info(bad, 80),
        lambda: syscalls.link_update(bad, bad),
        lambda: syscalls.prog_test_run(bad),
        lambda: syscalls.iter_create(bad),
        lambda: syscalls.perf_enable(bad),
        lambda: syscalls.setns(bad),
    ]
    for call in calls:
        with pytest.raises(KernelError):
            call()
    assert syscalls.map_update(bad, b"a", b"b") < 0
    assert syscalls.perf_set_bpf(bad, bad) == -9


def test_reading_our_own_memory():
    data = syscalls.buffer(b"some bytes")
    assert syscalls.process_read(os.getpid(), syscalls.address(data), 10) == b"some bytes"
    with pytest.raises(KernelError):
        syscalls.process_read(os.getpid(), 8, 10)


def test_addresses():
    assert syscalls.address(b"") == syscalls.address(None) == 0
    assert syscalls.address(b"x") != 0


def test_import_is_light():
    """ctypes is the one heavy import; none of the modules that the start path forbids comes with it."""
    code = "import sys; import osmia.syscalls; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert not loaded & {"re", "enum", "typing", "dataclasses", "json", "pathlib", "subprocess", "importlib.resources"}
    assert "osmia.syscalls._explain" not in loaded
    assert "osmia.syscalls._host" not in loaded


def test_every_public_name_is_there():
    for name in syscalls.__all__:
        assert getattr(syscalls, name) is not None
