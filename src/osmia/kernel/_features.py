"""What the running kernel can do: one row a feature. Three answers, kept only when they are conclusive."""

from __future__ import annotations

from .._data import Data
from ..errors import UsageError
from . import _feature_probes as probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Feature(Data):
    """`since` is the first Linux version, `commit` the one that brought it, `why` what Osmia needs it for."""

    name: str
    kind: str  # "program" | "map" | "helper" | "attach" | "verifier" | "system"
    since: str
    commit: str
    why: str
    probe: Callable[[], bool | None]


class Answer(Data):
    """`supported` is None where it could not be told (no privilege, or the kernel answered something else).

    `denied` is 1 or 13 where the kernel's answer was EPERM or EACCES, else 0.
    """

    feature: Feature
    supported: bool | None
    denied: int = 0

    @property
    def text(self) -> str:
        """ "supported", "not supported" or "could not tell"."""
        return {True: "supported", False: "not supported", None: "could not tell"}[self.supported]


def _row(name: str, kind: str, since: str, commit: str, why: str, asked: Callable[[], bool | None]) -> Feature:
    return Feature(name, kind, since, commit, why, asked)


# number: name, first version, commit
PROGRAM_TYPES: dict[int, tuple[str, str, str]] = {
    1: ("socket_filter", "3.19", "89aa075832b0"),
    2: ("kprobe", "4.1", "2541517c32be"),
    3: ("sched_cls", "4.1", "96be4325f443"),
    4: ("sched_act", "4.1", "94caee8c312d"),
    5: ("tracepoint", "4.7", "98b5c2c65c29"),
    6: ("xdp", "4.8", "6a773a15a1e8"),
    7: ("perf_event", "4.9", "0515e5999a46"),
    8: ("cgroup_skb", "4.10", "0e33661de493"),
    9: ("cgroup_sock", "4.10", "610236587600"),
    10: ("lwt_in", "4.10", "3a0af8fd61f9"),
    11: ("lwt_out", "4.10", "3a0af8fd61f9"),
    12: ("lwt_xmit", "4.10", "3a0af8fd61f9"),
    13: ("sock_ops", "4.13", "40304b2a1567"),
    14: ("sk_skb", "4.14", "b005fd189cec"),
    15: ("cgroup_device", "4.15", "ebc614f68736"),
    16: ("sk_msg", "4.17", "4f738adba30a"),
    17: ("raw_tracepoint", "4.17", "c4f6699dfcb8"),
    18: ("cgroup_sock_addr", "4.17", "4fbac77d2d09"),
    19: ("lwt_seg6local", "4.18", "004d4b274e2a"),
    20: ("lirc_mode2", "4.18", "f4364dcfc86d"),
    21: ("sk_reuseport", "4.19", "2dbb9b9e6df6"),
    22: ("flow_dissector", "4.20", "d58e468b1112"),
    23: ("cgroup_sysctl", "5.2", "7b146cebe30c"),
    24: ("raw_tracepoint_writable", "5.2", "9df1c28bb752"),
    25: ("cgroup_sockopt", "5.3", "0d01da6afc54"),
    26: ("tracing", "5.5", "f1b9509c2fb0"),
    27: ("struct_ops", "5.6", "27ae7997a661"),
    28: ("ext", "5.6", "be8704ff07d2"),
    29: ("lsm", "5.7", "fc611f47f218"),
    30: ("sk_lookup", "5.9", "e9ddbb7707ff"),
    31: ("syscall", "5.14", "79a7f8bdb159"),
    32: ("netfilter", "6.4", "fd9c663b9ad6"),
}
MAP_TYPES: dict[int, tuple[str, str, str]] = {
    1: ("hash", "3.19", "0f8e4bd8a1fc"),
    2: ("array", "3.19", "28fbcfa08d8e"),
    3: ("prog_array", "4.2", "04fd61ab36ec"),
    4: ("perf_event_array", "4.3", "ea317b267e9d"),
    5: ("percpu_hash", "4.6", "824bd0ce6c7c"),
    6: ("percpu_array", "4.6", "a10423b87a7e"),
    7: ("stack_trace", "4.6", "d5a3b1f69186"),
    8: ("cgroup_array", "4.8", "4ed8ec521ed5"),
    9: ("lru_hash", "4.10", "29ba732acbee"),
    10: ("lru_percpu_hash", "4.10", "8f8449384ec3"),
    11: ("lpm_trie", "4.11", "b95a5c4db09b"),
    12: ("array_of_maps", "4.12", "56f668dfe00d"),
    13: ("hash_of_maps", "4.12", "bcc6b1b7ebf8"),
    14: ("devmap", "4.14", "546ac1ffb70d"),
    15: ("sockmap", "4.14", "174a79ff9515"),
    16: ("cpumap", "4.15", "6710e1126934"),
    17: ("xskmap", "4.18", "fbfc504a24f5"),
    18: ("sockhash", "4.18", "81110384441a"),
    19: ("cgroup_storage", "4.19", "de9cbbaadba5"),
    20: ("reuseport_sockarray", "4.19", "5dc4c4b7d4e8"),
    21: ("percpu_cgroup_storage", "4.20", "b741f1630346"),
    22: ("queue", "4.20", "f1a2e44a3aec"),
    23: ("stack", "4.20", "f1a2e44a3aec"),
    24: ("sk_storage", "5.2", "6ac99e8f23d4"),
    25: ("devmap_hash", "5.4", "6f9d451ab1a3"),
    26: ("struct_ops", "5.6", "85d33df357b6"),
    27: ("ringbuf", "5.8", "457f44363a88"),
    28: ("inode_storage", "5.10", "8ea636848aca"),
    29: ("task_storage", "5.11", "4cf1bc1f1045"),
    30: ("bloom_filter", "5.16", "9330986c0300"),
    31: ("user_ringbuf", "6.1", "583c1f420173"),
    32: ("cgrp_storage", "6.2", "c4bcfb38a95e"),
    33: ("arena", "6.9", "317460317a02"),
}
# name: helper id, program type to ask for, first version, commit, why
_HELPERS: tuple[tuple[str, int, int, str, str, str], ...] = (
    ("get_stack", 67, 17, "4.18", "c195651e565a", "stacks written into events"),
    ("get_stackid", 27, 7, "4.6", "d5a3b1f69186", "kstack and ustack"),
    ("send_signal", 109, 2, "5.3", "8b401f9ed244", "signal()"),
    ("probe_read_user", 112, 2, "5.5", "6ae08ae3dea2", "reading user memory"),
    ("probe_read_kernel", 113, 2, "5.5", "6ae08ae3dea2", "reading kernel memory"),
    ("get_ns_current_pid_tgid", 120, 2, "5.7", "b4490c5c4e02", "pid inside a container"),
    ("ktime_get_boot_ns", 125, 2, "5.8", "71d19214776e", "nsecs(boot)"),
    ("ringbuf_output", 130, 2, "5.8", "457f44363a88", "events through the ring buffer"),
    ("d_path", 147, 26, "5.10", "6e22ab9da793", "path()"),
    ("get_current_task_btf", 158, 17, "5.11", "3ca1032ab7ab", "curtask without probe reads"),
    ("for_each_map_elem", 164, 17, "5.13", "69c087ba6225", "for loops over maps"),
    ("snprintf", 165, 17, "5.13", "7b15523a989b", "text made in the kernel"),
    ("get_func_ip", 173, 2, "5.15", "9b99edcae5c8", "func"),
    ("get_attach_cookie", 174, 2, "5.15", "7adfc6c9b315", "telling probes of one program apart"),
    ("loop", 181, 17, "5.17", "e6f2dd0f8067", "loops of any length"),
    ("strncmp", 182, 17, "5.17", "c5fb19937455", "comparing strings"),
    ("map_lookup_percpu_elem", 195, 17, "5.19", "07343110b293", "reading all CPUs of a map in a script"),
    ("ktime_get_tai_ns", 208, 2, "6.1", "c8996c98f703", "nsecs(tai)"),
)


def _all() -> dict[str, Feature]:
    rows = [
        _row("bpf_syscall", "system", "3.18", "99c55f7d47c0", "everything", probe.bpf_syscall),
        _row(
            "kernel_btf", "system", "5.4", "341dfcf8d78e", "field offsets, fentry, tp_btf, iterators", probe.kernel_btf
        ),
        _row("btf_load", "system", "4.18", "69b693f0aefa", "source lines in verifier errors", probe.btf_load),
        _row("tracefs", "system", "4.1", "d6b35e8fe1a5", "tracepoint", probe.tracefs),
        _row("token", "system", "6.9", "35f96de04127", "tracing inside user namespaces", probe.token),
        _row("run_stats", "system", "5.8", "d46edd671a14", "cost of a program", probe.run_stats),
        _row("test_run_raw_tp", "system", "5.10", "1b4d60ec162f", "begin, end, self", probe.test_run_raw_tp),
        _row("map_batch", "system", "5.6", "cb4d03ab499d", "reading large maps fast", probe.map_batch),
        _row("map_freeze", "system", "5.2", "87df15de441b", "constants known to the verifier", probe.map_freeze),
        _row("map_mmap", "system", "5.5", "fc9702273e2e", "data sections in memory", probe.map_mmap),
        _row("hash_take", "system", "5.14", "3e87f192b405", "taking elements out of a hash map", probe.hash_take),
        _row("bounded_loops", "verifier", "5.3", "2589726d12a1", "loops", probe.bounded_loops),
        _row("large_programs", "verifier", "5.2", "c04c0d2b968a", "over 4096 instructions", probe.large_programs),
        _row("atomics", "verifier", "5.12", "5ffa25502b5a", "compare and exchange", probe.atomics),
        _row("isa_v4", "verifier", "6.6", "1f9a1ea821ff", "signed division and loads", probe.isa_v4),
        _row("kfuncs", "verifier", "5.13", "e6ac2450d6de", "calling kernel functions", probe.kfuncs),
        _row("perf_link", "attach", "5.15", "b89fbfbb854c", "links and cookies on perf events", probe.perf_link),
        _row("raw_tp_cookie", "attach", "6.10", "68ca5d4eebb8", "cookies on raw tracepoints", probe.raw_tp_cookie),
        _row("tp_btf", "attach", "5.5", "ac4414b5ca47", "typed raw tracepoints", probe.tp_btf),
        _row("fentry", "attach", "5.5", "fec56f5890d9", "fentry, fexit", probe.fentry),
        _row("lsm_attach", "attach", "5.7", "9d3fdea789c8", "LSM hooks", probe.lsm_attach),
        _row("iterators", "attach", "5.8", "ae24345da54e", "iter", probe.iterators),
        _row("kprobe_pmu", "attach", "4.17", "e12f03d7031a", "kprobe, kretprobe", probe.kprobe_pmu),
        _row("uprobe_pmu", "attach", "4.17", "33ea4b24277b", "uprobe, uretprobe, usdt", probe.uprobe_pmu),
        _row("uprobe_ref_ctr", "attach", "4.20", "a6ca88b241d5", "usdt semaphores", probe.uprobe_ref_ctr),
        _row("kprobe_multi", "attach", "5.18", "0dcac2725406", "many kprobes at once", probe.kprobe_multi),
        _row("kprobe_session", "attach", "6.10", "535a3692ba72", "entry and return as one", probe.kprobe_session),
        _row("uprobe_multi", "attach", "6.6", "89ae89f53d20", "many uprobes at once", probe.uprobe_multi),
        _row("tcx", "attach", "6.6", "e420bed02507", "tc programs with links", probe.tcx),
        _row("xdp_link", "attach", "5.9", "aa8d3a716b59", "XDP programs with links", probe.xdp_link),
        _row("software_events", "attach", "4.9", "0515e5999a46", "interval, profile, software", probe.software_events),
        _row("hardware_events", "attach", "4.9", "0515e5999a46", "hardware", probe.hardware_events),
        _row("breakpoints", "attach", "4.9", "0515e5999a46", "watchpoint", probe.breakpoints),
    ]
    for number, (name, since, commit) in PROGRAM_TYPES.items():
        rows.append(_row(f"program_{name}", "program", since, commit, f"{name} programs", _program(number)))
    for number, (name, since, commit) in MAP_TYPES.items():
        rows.append(_row(f"map_{name}", "map", since, commit, f"{name} maps", _map(number)))
    for name, number, type, since, commit, why in _HELPERS:
        rows.append(_row(f"helper_{name}", "helper", since, commit, why, _helper(type, number)))
    return {row.name: row for row in rows}


def _program(type: int) -> Callable[[], bool | None]:
    return lambda: probe.program_type(type)


def _map(type: int) -> Callable[[], bool | None]:
    return lambda: probe.map_type(type)


def _helper(type: int, id: int) -> Callable[[], bool | None]:
    return lambda: probe.helper(type, id)


FEATURES: dict[str, Feature] = _all()
_known: dict[str, Answer] = {}
_known_helpers: dict[tuple[int, int], bool] = {}


def probe_feature(name: str) -> Answer:
    """Ask the kernel. UsageError for a name that is not in `FEATURES`."""
    row = FEATURES.get(name)
    if row is None:
        from difflib import get_close_matches

        near = get_close_matches(name, FEATURES, 1)
        raise UsageError(f"probe feature {name!r}: no such feature", hint=f"did you mean {near[0]}?" if near else "")
    if name in _known:
        return _known[name]
    probe.last_denial = 0
    answer = Answer(row, row.probe(), probe.last_denial)
    if answer.supported is not None:
        _known[name] = answer
    return answer


# Maps of network devices and sockets take CAP_NET_ADMIN beside CAP_BPF (map_create() of kernel/bpf/syscall.c).
_NET_MAPS = (14, 15, 17, 18, 25)


def capabilities_for(feature: Feature) -> tuple[str, ...]:
    """What asking the kernel for it takes."""
    from ._verifier_log import program_capabilities

    own = {
        "tracefs": ("CAP_DAC_READ_SEARCH",), "run_stats": ("CAP_SYS_ADMIN",), "tcx": ("CAP_BPF", "CAP_NET_ADMIN"),
        "xdp_link": ("CAP_BPF", "CAP_NET_ADMIN"), "software_events": ("CAP_PERFMON",),
        "hardware_events": ("CAP_PERFMON",), "breakpoints": ("CAP_PERFMON",),
    }  # fmt: skip
    if feature.name in own:
        return own[feature.name]
    name = feature.name.partition("_")[2]
    if feature.kind == "program":
        return program_capabilities(next(n for n, row in PROGRAM_TYPES.items() if row[0] == name))
    if feature.kind == "map":
        return ("CAP_BPF", *(("CAP_NET_ADMIN",) if any(MAP_TYPES[n][0] == name for n in _NET_MAPS) else ()))
    if feature.kind == "system" and feature.name != "test_run_raw_tp":
        return ("CAP_BPF",)
    return ("CAP_BPF", "CAP_PERFMON")


def helper_support(program_type: int, helper: int) -> bool | None:
    """Whether programs of this type may call the helper with this id; None where it could not be told."""
    key = (program_type, helper)
    if key not in _known_helpers:
        supported = probe.helper(program_type, helper)
        if supported is None:
            return None
        _known_helpers[key] = supported
    return _known_helpers[key]


def _lacking(table: dict[int, tuple[str, str, str]], prefix: str, number: int) -> tuple[str, str] | None:
    row = table.get(number)
    if row is None or probe_feature(prefix + row[0]).supported is not False:
        return None
    return row[0], row[1]


def map_type_support(type: int) -> tuple[str, str] | None:
    """(name, first version) when this kernel surely lacks maps of `type`."""
    return _lacking(MAP_TYPES, "map_", type)


def program_type_support(type: int) -> tuple[str, str] | None:
    """(name, first version) when this kernel surely lacks programs of `type`."""
    return _lacking(PROGRAM_TYPES, "program_", type)
