"""Tables of helpers, contexts, maps and kernels: what they say of well-known facts, and that they hang together."""

from __future__ import annotations

import pytest

from osmia.errors import OsmiaError
from osmia.isa._tables import table
from osmia.verifier import _callers, _context, _context_since, _map_rules, _maps_allowed, _prototypes, _return_ranges
from osmia.verifier._features import FEATURES
from osmia.verifier._gen.arguments import ITERATORS, NULLABLE
from osmia.verifier._gen.contexts import BLOCKS
from osmia.verifier._gen.prototypes import ALLOWED, PROTOS, VARIANTS
from osmia.verifier._profile import NEWEST, OLDEST, profile, versions
from osmia.verifier._types import MapInfo
from osmia.verifier._versions import ATTACH_TYPES, HELPERS, MAP_TYPES, PROG_TYPES

HELPER, PROG, MAP, ATTACH = (table(name) for name in ("HELPERS", "PROG_TYPES", "MAP_TYPES", "ATTACH_TYPES"))
KINDS = {
    "anything", "scalar", "ctx", "const_map_ptr", "map_key", "map_value", "map_value_uninit", "mem_rd", "mem_wr",
    "mem_wr_init", "size", "size_or_zero", "alloc_size_or_zero", "ringbuf_mem", "func", "stack", "const_str",
    "spin_lock",
    "timer", "kptr_xchg_dest", "dynptr", "dynptr_uninit", "dynptr_ringbuf", "dynptr_uninit_ringbuf", "sock_common",
    "socket", "btf_id", "btf_id_sock_common", "percpu_btf_id",
}  # fmt: skip
RESULTS = {
    "integer", "void", "map_value", "map_value_or_null", "socket_or_null", "sock_common_or_null", "tcp_sock_or_null",
    "mem_or_null", "ringbuf_mem_or_null", "mem_or_btf_id", "mem_or_btf_id_or_null", "btf_id", "btf_id_or_null",
}  # fmt: skip


def test_every_helper_has_a_row() -> None:
    assert set(PROTOS) == set(ALLOWED) == set(HELPERS) == set(HELPER) - {"unspec"}
    assert len(PROTOS) == 211


def test_rows_are_made_of_known_words() -> None:
    for _, ret, args in [*PROTOS.values(), *(row for _, row, _ in VARIANTS)]:
        assert ret.split(":")[0] in RESULTS
        assert len(args) <= 5
        for before, kind in zip(("", *args), args):
            base = kind.split(":")[0]
            assert base in KINDS or base.removesuffix("_or_null") in KINDS
            if base in ("size", "size_or_zero"):
                assert before.startswith("mem_"), "a size tells the length of the memory in front of it"


def test_variants_and_callers_name_rooms_that_exist() -> None:
    rooms = {"/".join(room) for names, _ in BLOCKS for room in names}
    rooms |= {f"{prog}/{attach}" for prog in ("tracing", "lsm", "struct_ops") for attach in ATTACH}
    for helper, _, names in VARIANTS:
        assert helper in PROTOS
        assert set(names) <= rooms
    types = {name for names in ALLOWED.values() for name in names}
    types |= {name for _, _, _, who in _callers.LATER for name in who}
    for name in types - {"*", "!"}:
        assert name.lstrip("!").split("/")[0] in PROG
    assert all(helper in PROTOS for _, _, helpers, _ in _callers.LATER for helper in helpers)


@pytest.mark.parametrize(
    ("helper", "prog", "kernel", "expected"),
    [
        ("map_lookup_elem", "xdp", "4.14", ""),
        ("xdp_adjust_head", "xdp", "4.14", ""),
        ("xdp_adjust_head", "sched_cls", "6.18", "not for this program type"),
        ("skb_store_bytes", "socket_filter", "6.18", "not for this program type"),
        ("ringbuf_output", "kprobe", "5.7", "since 5.8"),
        ("ringbuf_output", "kprobe", "5.8", ""),
        ("loop", "xdp", "5.16", "since 5.17"),
        ("get_current_comm", "xdp", "6.12", "since 6.16"),
        ("get_current_comm", "kprobe", "4.14", ""),
        ("get_ns_current_pid_tgid", "sched_cls", "6.9", "since 6.10"),
        ("get_current_cgroup_id", "xdp", "6.3", "since 6.4"),
        ("rc_keydown", "lirc_mode2", "4.18", ""),
        ("rc_keydown", "xdp", "6.18", "not for this program type"),
        ("probe_write_user", "tracepoint", "4.14", ""),
    ],
)
def test_who_may_call(helper: str, prog: str, kernel: str, expected: str) -> None:
    assert _prototypes.why_not(HELPER[helper], PROG[prog], 0, profile(kernel)) == expected
    assert (_prototypes.proto(HELPER[helper], PROG[prog], 0, profile(kernel)) is None) == bool(expected)


def test_attach_types_count_where_they_count() -> None:
    bind, connect = HELPER["bind"], ATTACH["cgroup_inet4_connect"]
    assert _prototypes.why_not(bind, PROG["cgroup_sock_addr"], connect) == ""
    assert _prototypes.why_not(bind, PROG["cgroup_sock_addr"], ATTACH["cgroup_inet4_bind"])
    assert _prototypes.why_not(HELPER["seq_printf"], PROG["tracing"], ATTACH["trace_iter"]) == ""
    assert _prototypes.why_not(HELPER["seq_printf"], PROG["tracing"], ATTACH["trace_fentry"])
    # Attach types that a program type does not look at are as good as none.
    assert _prototypes.why_not(HELPER["xdp_adjust_head"], PROG["xdp"], ATTACH["xdp_devmap"]) == ""
    assert _prototypes.why_not(HELPER["setsockopt"], PROG["sock_ops"], ATTACH["cgroup_sock_ops"]) == ""


def test_the_unprivileged_may_call_less() -> None:
    plain = profile("6.1", privileged=False)
    assert _prototypes.why_not(HELPER["trace_printk"], PROG["socket_filter"], 0, plain) == "privileged"
    assert _prototypes.why_not(HELPER["map_lookup_elem"], PROG["socket_filter"], 0, plain) == ""


def test_unknown_helpers() -> None:
    for number in (0, 212, 99999, -1):
        assert _prototypes.why_not(number, PROG["xdp"]) == "unknown"
        assert _prototypes.proto(number, PROG["xdp"]) is None
        assert _prototypes.any_proto(number) is None
        assert _prototypes.refusal(number) == f"invalid func unknown#{number}"
    assert _prototypes.refusal(44) == "program of this type cannot use helper bpf_xdp_adjust_head#44"
    assert _prototypes.refusal(44, profile("6.1")) == "unknown func bpf_xdp_adjust_head#44"
    assert _prototypes.refusal(181, profile("5.4")) == "invalid func unknown#181"


def test_arguments() -> None:
    update = _prototypes.proto(HELPER["map_update_elem"], PROG["xdp"])
    assert update is not None
    assert update.args == ("const_map_ptr", "map_key", "map_value", "anything")
    assert (update.ret, update.gpl, update.changes_packet, update.acquires) == ("integer", False, False, False)
    reserve = _prototypes.proto(HELPER["ringbuf_reserve"], PROG["kprobe"])
    assert reserve is not None
    assert (reserve.args[1], reserve.ret, reserve.acquires) == ("alloc_size_or_zero", "ringbuf_mem_or_null", True)
    submit = _prototypes.any_proto(HELPER["ringbuf_submit"])
    assert submit is not None and submit.releases == 1
    loop = _prototypes.any_proto(HELPER["loop"])
    assert loop is not None and loop.callback == 2
    assert {name for name in PROTOS if (p := _prototypes.any_proto(HELPER[name])) and p.changes_packet} >= {
        "skb_store_bytes", "xdp_adjust_head", "skb_pull_data", "msg_push_data",
    }  # fmt: skip


def test_arguments_of_older_kernels() -> None:
    look_up = HELPER["sk_lookup_tcp"], PROG["xdp"], 0
    new, old = _prototypes.proto(*look_up, profile("6.12")), _prototypes.proto(*look_up, profile("6.1"))
    assert new is not None and old is not None
    assert (new.args[2], old.args[2]) == ("size_or_zero", "size")


@pytest.mark.parametrize(
    ("prog", "attach", "off", "size", "write", "kind"),
    [
        ("xdp", "", 0, 4, False, "pkt"),
        ("xdp", "", 4, 4, False, "pkt_end"),
        ("xdp", "", 8, 4, False, "pkt_meta"),
        ("xdp", "", 12, 4, False, "scalar"),
        ("xdp", "", 12, 2, False, None),
        ("xdp", "", 0, 8, False, None),
        ("xdp", "", 20, 4, False, None),
        ("xdp", "xdp_devmap", 20, 4, False, "scalar"),
        ("xdp", "", 12, 4, True, None),
        ("sched_cls", "", 8, 4, True, ""),
        ("sched_cls", "", 8, 2, True, None),
        ("sched_cls", "", 48, 8, True, ""),
        ("sched_cls", "", 1, 1, False, "scalar"),
        ("sched_cls", "", 168, 8, False, "sock_common_or_null"),
        ("socket_filter", "", 76, 4, False, None),
        ("kprobe", "", 112, 8, False, "scalar"),
        ("kprobe", "", 168, 8, False, None),
        ("kprobe", "", 112, 8, True, None),
        ("tracepoint", "", 0, 8, False, None),
        ("tracepoint", "", 8, 8, False, "scalar"),
        ("tracepoint", "", 8184, 8, False, "scalar"),
        ("tracepoint", "", 8192, 1, False, None),
        ("perf_event", "", 168, 4, False, "scalar"),
        ("raw_tracepoint", "", 88, 8, False, "scalar"),
        ("raw_tracepoint", "", 96, 8, False, None),
        ("netfilter", "netfilter", 0, 8, False, "btf"),
        ("cgroup_sock_addr", "cgroup_inet6_connect", 8, 8, True, ""),
        ("cgroup_sock_addr", "cgroup_inet4_connect", 8, 8, True, None),
        ("cgroup_sockopt", "cgroup_getsockopt", 36, 4, False, "scalar"),
        ("cgroup_sockopt", "cgroup_setsockopt", 36, 4, False, None),
        ("lirc_mode2", "lirc_mode2", 0, 4, False, "scalar"),
    ],
)
def test_contexts(prog: str, attach: str, off: int, size: int, write: bool, kind: str | None) -> None:
    found = _context.access(PROG[prog], ATTACH[attach] if attach else 0, off, size, write)
    assert (found.kind if found else None) == kind


def test_contexts_of_older_kernels() -> None:
    def reads(prog: str, off: int, size: int, kernel: str) -> bool:
        return _context.access(PROG[prog], 0, off, size, False, profile(kernel)) is not None

    assert not reads("xdp", 8, 4, "4.14") and reads("xdp", 8, 4, "4.15")
    assert not reads("sched_cls", 168, 8, "5.0") and reads("sched_cls", 168, 8, "5.1")
    assert not reads("sock_ops", 216, 8, "6.1") and reads("sock_ops", 216, 8, "6.2")
    assert reads("sched_cls", 76, 4, "4.14")


def test_contexts_in_all() -> None:
    assert not _context.has_layout(PROG["tracing"])
    assert not _context.has_layout(PROG["lsm"])
    for name, number in PROG.items():
        if name in ("unspec", "tracing", "lsm", "struct_ops", "ext"):
            continue
        assert _context.has_layout(number), name
        assert _context.context_size(number) > 0
        for off in (-(1 << 31), 1 << 20):
            assert _context.access(number, 0, off, 4, False) is None


def test_newest_fields_are_dated_no_later_than_now() -> None:
    for prog in PROG.values():
        for off in range(256):
            assert _context_since.since(prog, 0, off, False) <= NEWEST


def test_maps() -> None:
    def takes(kind: str, helper: str, prog: str = "xdp", kernel: str = "6.18") -> bool:
        return _maps_allowed.check(MAP[kind], HELPER[helper], PROG[prog], profile(kernel)) is None

    assert takes("hash", "map_lookup_elem") and takes("prog_array", "tail_call")
    assert not takes("prog_array", "map_lookup_elem") and not takes("hash", "tail_call")
    assert not takes("ringbuf", "map_lookup_elem") and takes("ringbuf", "ringbuf_reserve")
    assert takes("sockmap", "map_delete_elem", "kprobe", "6.9")
    assert not takes("sockmap", "map_delete_elem", "kprobe", "6.10")
    message = _maps_allowed.check(MAP["array"], HELPER["ringbuf_output"])
    assert message == "cannot pass map_type 2 into func bpf_ringbuf_output#130"


def test_maps_by_program() -> None:
    locked = MapInfo(MAP["hash"], 4, 8, 1, btf_fields=((0, 4, "spin_lock"),))
    assert _maps_allowed.check_program(locked, PROG["xdp"]) is None
    assert _maps_allowed.check_program(locked, PROG["kprobe"]) == "tracing progs cannot use bpf_spin_lock yet"
    assert "socket filter" in str(_maps_allowed.check_program(locked, PROG["socket_filter"]))
    stacks = MapInfo(MAP["stack_trace"], 4, 80, 1)
    assert "Sleepable" in str(_maps_allowed.check_program(stacks, PROG["tracing"], sleepable=True))
    lazy = MapInfo(MAP["hash"], 4, 8, 1, flags=1)
    assert _maps_allowed.check_program(lazy, PROG["perf_event"], profile("5.15"))
    assert _maps_allowed.check_program(lazy, PROG["perf_event"], profile("6.1")) is None


@pytest.mark.parametrize(
    ("info", "kernel", "errno", "text"),
    [
        (MapInfo(MAP["hash"], 4, 8, 1), "4.14", 0, ""),
        (MapInfo(MAP["hash"], 0, 8, 1), "6.18", 22, "key"),
        (MapInfo(MAP["array"], 8, 8, 1), "6.18", 22, "4 bytes, not 8"),
        (MapInfo(MAP["array"], 4, 8, 0), "6.18", 22, "needs max_entries"),
        (MapInfo(MAP["array"], 4, 8, 1, flags=1024), "5.4", 22, "BPF_F_MMAPABLE exists since 5.5"),
        (MapInfo(MAP["ringbuf"], 0, 0, 4096), "5.7", 22, "exists since 5.8"),
        (MapInfo(MAP["ringbuf"], 0, 0, 5000), "5.8", 22, "power of two"),
        (MapInfo(MAP["percpu_array"], 4, 40000, 1), "6.1", 7, "at most 32768"),
        (MapInfo(MAP["lru_hash"], 4, 4, 1, flags=1), "6.1", 524, "preallocated"),
        (MapInfo(MAP["lpm_trie"], 8, 4, 1), "6.1", 22, "needs BPF_F_NO_PREALLOC"),
        (MapInfo(99, 4, 4, 1), "6.1", 22, "unknown"),
    ],
)
def test_map_creation(info: MapInfo, kernel: str, errno: int, text: str) -> None:
    found = _map_rules.check_create(info, profile(kernel))
    assert (found[0] if found else 0) == errno
    assert text in (found[1] if found else "")


def test_versions_are_in_order() -> None:
    assert set(MAP_TYPES) == set(_map_rules.RULES)
    assert set(PROG_TYPES) == set(PROG) - {"unspec"}
    assert set(ATTACH_TYPES) == set(ATTACH)
    for rows in (HELPERS, MAP_TYPES, PROG_TYPES, ATTACH_TYPES):
        for name, (since, commit) in rows.items():
            assert (3, 15) <= since <= NEWEST, name
            assert not commit or (len(commit) == 12 and int(commit, 16) >= 0), name
    for row in FEATURES.values():
        assert OLDEST <= row.since <= NEWEST
        assert not row.commit or (len(row.commit) == 12 and int(row.commit, 16) >= 0), row.name


def test_profiles() -> None:
    names = versions()
    assert (names[0], names[-1]) == ("4.14", "6.18")
    assert len(names) == 7 + 20 + 19
    assert [profile(name).name for name in names] == list(names)
    assert profile(None) == profile("6.18") == profile("7.3") == profile((6, 30))
    assert profile("5.10.0-23-amd64") == profile("v5.10") == profile("5.10")
    old, new = profile("5.1"), profile("5.2")
    assert (old.insn_limit, old.complexity_limit, old.bounded_loops) == (4096, 131072, False)
    assert (new.insn_limit, new.complexity_limit, new.bounded_loops) == (1_000_000, 1_000_000, False)
    assert profile("5.3").bounded_loops
    plain = profile("6.1").unprivileged()
    assert (plain.insn_limit, plain.bounded_loops, plain.privileged) == (4096, False, False)
    assert (profile("4.15").max_frames, profile("4.16").max_frames) == (1, 8)


@pytest.mark.parametrize("name", ["4.13", "3.10", "5.20", "4.21", "", "six", "6", "6.x", "6.-1"])
def test_what_is_no_profile(name: str) -> None:
    with pytest.raises(OsmiaError) as caught:
        profile(name)
    assert caught.value.hint


def test_features() -> None:
    assert profile("6.3").has("uninit_stack_reads")
    assert profile("6.1").has("uninit_stack_reads"), "stable releases of 6.1 have it"
    assert not profile("6.2").has("uninit_stack_reads")
    with pytest.raises(KeyError):
        profile("6.1").has("no such feature")


def test_results() -> None:
    def of(prog: str, attach: str = "", kernel: str = "6.18") -> tuple[int, int] | None:
        return _return_ranges.return_range(PROG[prog], ATTACH[attach] if attach else 0, profile(kernel))

    assert of("xdp") is None and of("sched_cls") is None
    assert of("cgroup_skb", "cgroup_inet_egress") == (0, 3)
    assert of("cgroup_skb", "cgroup_inet_egress", "5.2") == (0, 1)
    assert of("cgroup_sock_addr", "cgroup_udp4_recvmsg") == (1, 1)
    assert of("tracing", "trace_fentry") == (0, 0)


def test_lists_of_arguments() -> None:
    assert ITERATORS["task"] == ("trusted_ptr", "trusted_ptr_or_null")
    assert NULLABLE["sched_pi_setprio"] == (1,)
