"""Feature probes: answers on this kernel agree with what it is seen to do."""

from __future__ import annotations

import pytest

from osmia import syscalls
from osmia.errors import UsageError
from osmia.kernel import FEATURES, helper_support, probe_feature, report


@pytest.mark.parametrize("name", FEATURES)
def test_rows_are_complete_and_answered(name):
    row = FEATURES[name]
    assert row.why
    assert len(row.commit) == 12
    assert set(row.commit) <= set("0123456789abcdef")
    since = tuple(int(part) for part in row.since.split("."))
    answer = probe_feature(name)
    assert answer.text in ("supported", "not supported", "could not tell")
    if answer.supported:
        # Distributions take features into older kernels, so only upstream versions can be held to the table.
        assert syscalls.kernel_version()[:2] >= since


def test_what_every_supported_kernel_has():
    for name in ("bpf_syscall", "kernel_btf", "btf_load", "bounded_loops", "large_programs", "map_hash", "map_array"):
        assert probe_feature(name).supported is True, name
    for name in ("program_kprobe", "program_tracepoint", "program_xdp", "helper_get_stackid", "software_events"):
        assert probe_feature(name).supported is True, name


def test_helpers_by_program_type():
    socket_filter, kprobe = 1, 2
    assert helper_support(kprobe, 16) is True  # get_current_comm
    assert helper_support(socket_filter, 36) is False  # probe_write_user
    assert helper_support(kprobe, 9) is False  # skb_store_bytes
    assert helper_support(kprobe, 9999) is False


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UsageError, match="did you mean kprobe_multi"):
        probe_feature("kprobe_multy")


def test_report():
    found = report(features=False)
    names = [check.name for check in found.checks]
    assert names[:4] == ["kernel", "kernel BTF", "tracefs", "bpffs"]
    assert {"CAP_BPF", "CAP_PERFMON", "perf_event_paranoid", "lockdown"} <= set(names)
    assert all(check.state in ("ok", "warn", "fail") for check in found.checks)
    assert all(check.meaning for check in found.checks if check.state != "ok")
