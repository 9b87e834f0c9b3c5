"""The table of tracepoints against the running kernel's own."""

from __future__ import annotations

from osmia.probes import StaticTracepoints
from osmia.probes._tracefs import Tracefs
from osmia.syscalls import kernel_version


def test_records_are_as_this_kernel_has_them() -> None:
    table, live = StaticTracepoints(), Tracefs()
    others = []
    compared = 0
    for category, events in table.events().items():
        for event in events:
            if not live.has(category, event):
                continue
            compared += 1
            if table.format(category, event).args != live.format(category, event).args:
                others.append(f"{category}:{event}")
    assert compared > 700
    # System calls are the same everywhere; other records change between versions.
    assert [name for name in others if name.startswith("syscalls:")] == []
    if kernel_version()[:2] == (6, 18):
        assert others == []


def test_the_table_has_what_scripts_use_most() -> None:
    table = StaticTracepoints()
    for name in (
        "sched:sched_process_exec", "sched:sched_switch", "sched:sched_wakeup", "signal:signal_generate",
        "raw_syscalls:sys_exit", "block:block_rq_issue", "tcp:tcp_retransmit_skb", "sock:inet_sock_set_state",
        "oom:mark_victim", "skb:kfree_skb", "task:task_newtask", "exceptions:page_fault_user",
    ):  # fmt: skip
        category, _, event = name.partition(":")
        if Tracefs().has(category, event):
            assert table.has(category, event), name
