"""Write src/osmia/verifier/_gen/prototypes.py: what arguments every helper takes, and who may call it.

    sudo PYTHONPATH=src python scripts/gen_verifier_prototypes.py measure FACTS.json    on a distribution's kernel
    sudo PYTHONPATH=src python scripts/gen_verifier_prototypes.py write FACTS.json      on the newest kernel at hand

`measure` reads the kernel's `struct bpf_func_proto` objects through /proc/kcore, with their layout from BTF and their
addresses from kallsyms (CONFIG_KALLSYMS_ALL), and learns which one a program type gets from return probes on the
functions that choose. `write` asks the running kernel which program types may call which helpers.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from measure_verifier import ROOMS, Kernel

from osmia.isa._tables import table

Row = tuple[str, str, tuple[str, ...]]

OUT = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "src", "osmia", "verifier", "_gen", "prototypes.py"
)
# Depends on the kernel's configuration or lockdown: allowed if any kernel with it allows it.
CONFIGURED = {"probe_write_user", "get_cgroup_classid", "get_route_realm", "override_return"}
# Chosen by functions in kernel/trace, which return probes do not reach; by the name of the object instead.
TRACING = {
    "kprobe": ("",), "tracepoint": ("_tp", ""), "perf_event": ("_pe", "_tp", ""),
    "raw_tracepoint": ("_raw_tp", ""), "raw_tracepoint_writable": ("_raw_tp", ""),
    "tracing": ("_tracing", "_raw_tp", ""),
}  # fmt: skip
SPECIAL = {
    ("kprobe", "get_func_ip"): "bpf_get_func_ip_proto_kprobe",
    ("tracing", "get_func_ip"): "bpf_get_func_ip_proto_tracing",
    ("tracing", "get_socket_cookie"): "bpf_get_socket_ptr_cookie_proto",
    ("tracing", "skb_output"): "bpf_skb_output_proto",
    ("tracing", "xdp_get_buff_len"): "bpf_xdp_get_buff_len_trace_proto",
    ("perf_event", "perf_prog_read_value"): "bpf_perf_prog_read_value_proto",
    ("kprobe", "get_attach_cookie"): "bpf_get_attach_cookie_proto_trace",
    ("tracepoint", "get_attach_cookie"): "bpf_get_attach_cookie_proto_trace",
    ("perf_event", "get_attach_cookie"): "bpf_get_attach_cookie_proto_pe",
    ("tracing", "get_attach_cookie"): "bpf_get_attach_cookie_proto_tracing",
    **{
        (f"kprobe/trace_{what}_{form}", f"get_{helper}"): f"bpf_get_{helper}_proto_{what[0]}{suffix}"
        for what in ("kprobe", "uprobe")
        for form in ("multi", "session")
        for helper, suffix in (("func_ip", "probe_multi"), ("attach_cookie", "multi"))
    },
}
RENAMED = {"probe_read": "bpf_probe_read_compat_proto", "probe_read_str": "bpf_probe_read_compat_str_proto"}
# In no kernel at hand: CONFIG_BPF_LIRC_MODE2 and CONFIG_BPF_KPROBE_OVERRIDE (drivers/media/rc/bpf-lirc.c,
# kernel/trace/bpf_trace.c).
LIRC = {
    "map_lookup_elem", "map_update_elem", "map_delete_elem", "map_push_elem", "map_pop_elem", "map_peek_elem",
    "ktime_get_ns", "ktime_get_boot_ns", "tail_call", "get_prandom_u32", "trace_printk",
    "rc_repeat", "rc_keydown", "rc_pointer_rel",
}  # fmt: skip
LIRC_ROOM = "lirc_mode2/lirc_mode2"
ABSENT: dict[str, Row] = {
    "rc_repeat": ("gpl", "integer", ("ctx",)),
    "rc_keydown": ("gpl", "integer", ("ctx", "anything", "anything", "anything")),
    "rc_pointer_rel": ("gpl", "integer", ("ctx", "anything", "anything")),
    "override_return": ("gpl", "integer", ("ctx", "anything")),
}  # fmt: skip


FLAGS = (("gpl", "gpl_only"), ("pkt", "pkt_access"), ("sleeps", "might_sleep"), ("fastcall", "allow_fastcall"))


class Names:
    """Numbers of the kernel's enums turned into the names of `Proto`."""

    def __init__(self, enums: dict[str, dict[str, int]]) -> None:
        self.args = {v: k.removeprefix("ARG_") for k, v in enums["bpf_arg_type"].items() if v < 256}
        self.rets = {v: k.removeprefix("RET_") for k, v in enums["bpf_return_type"].items() if v < 256}
        self.flags = {k: v for k, v in enums["bpf_type_flag"].items() if not k.startswith("__")}

    def on(self, value: int) -> set[str]:
        return {name for name, bit in self.flags.items() if value & bit}

    def arg(self, value: int, extra: int | str) -> str:
        name = self.args[value & 255].removeprefix("PTR_TO_").lower()
        name = name.replace("const_size", "size").replace("const_alloc", "alloc")
        on = self.on(value)
        if name == "mem":
            name += "_wr" if "MEM_WRITE" in on else "_rd"
            name += "_init" if "MEM_WRITE" in on and "MEM_UNINIT" not in on else ""
        elif "MEM_UNINIT" in on:
            name += "_uninit"
        if "DYNPTR_TYPE_RINGBUF" in on:
            name += "_ringbuf"
        if "PTR_MAYBE_NULL" in on:
            name += "_or_null"
        if "OBJ_RELEASE" in on:
            name += ":release"
        if "MEM_FIXED_SIZE" in on or (name.startswith("btf_id") and isinstance(extra, str)):
            name += f":{extra}" if extra != "?" else ""
        return name

    def ret(self, value: int, btf: int | str) -> str:
        name = self.rets[value & 255].removeprefix("PTR_TO_").lower()
        on = self.on(value)
        if "MEM_RINGBUF" in on:
            name = "ringbuf_mem"
        if "PTR_MAYBE_NULL" in on:
            name += "_or_null"
        if isinstance(btf, str):
            name += f":{btf}"
        return name


def proto_row(names: Names, fact: dict[str, Any]) -> Row:
    """(flags, what it returns, arguments)."""
    flags = [word for word, field in FLAGS if fact.get(field)]
    if (fact.get("cond") or "").endswith("allowed"):
        flags.append("conditional")
    args = [names.arg(a, b) for a, b in zip(fact["args"], fact["b"])]
    while args and args[-1] == "dontcare":
        args.pop()
    return " ".join(flags), names.ret(fact["ret"], fact["b"][5]), tuple(args)


def choose(facts: dict[str, Any], room: str, helper: str) -> str | None:
    """The object that programs of that room get for the helper."""
    prog = room.split("/")[0]
    measured = facts["allowed"].get(room, {}).get(helper, {}).get("proto")
    if measured:
        return str(measured)
    if helper in RENAMED:
        return RENAMED[helper]
    for key in ((room, helper), (prog, helper)):
        if key in SPECIAL:
            return SPECIAL[key]
    for suffix in TRACING.get(prog, ("",)):
        for name in (f"bpf_{helper}_proto{suffix}", f"bpf_{helper}{suffix}_proto"):
            if name in facts["protos"]:
                return name
    return None


def write(path: str) -> None:
    with open(path) as f:
        facts = json.load(f)
    names, kernel = Names(facts["enums"]), Kernel()
    helpers = {name: number for name, number in table("HELPERS").items() if number}
    rooms: dict[str, set[str]] = {}
    variants: dict[str, dict[Row, list[str]]] = {}
    unknown: list[tuple[str, str]] = []
    for prog, attach in ROOMS:
        room = f"{prog}/{attach}"
        known = kernel.may_call((prog, attach), 1) == "" and kernel.exits((prog, attach)) is not None
        before = {h for h, e in facts["allowed"].get(room, {}).items() if e["ok"]}
        allowed = {h for h, n in helpers.items() if not kernel.may_call((prog, attach), n)} if known else before
        rooms[room] = allowed | (before & CONFIGURED)
        if prog == "kprobe":
            rooms[room].add("override_return")
        if prog == "lirc_mode2":
            rooms[room] = LIRC
        for helper in rooms[room]:
            symbol = choose(facts, room, helper)
            if symbol:
                row = proto_row(names, facts["protos"][symbol])
                variants.setdefault(helper, {}).setdefault(row, []).append(room)
            elif helper in ABSENT:
                variants.setdefault(helper, {}).setdefault(ABSENT[helper], []).append(room)
            else:
                unknown.append((room, helper))
    print("as for other types:", *(" ".join(pair) for pair in unknown if pair[1] in variants))
    with open(OUT, "w", encoding="ascii") as f:
        f.write(render(helpers, rooms, variants))
    missing = [h for h in helpers if h not in variants]
    print(len(variants), "helpers; nobody may call", missing)


def render(
    helpers: dict[str, int], rooms: dict[str, set[str]], variants: dict[str, dict[Row, list[str]]]
) -> str:  # fmt: skip
    """The module's text."""
    out = [
        '"""Helpers: arguments, result, who may call. Generated by scripts/gen_verifier_prototypes.py: do not edit."""',
        "", "from __future__ import annotations", "",
        "# helper -> (flags, what it returns, arguments)",
        "Row = tuple[str, str, tuple[str, ...]]",
        "PROTOS: dict[str, Row] = {",
    ]  # fmt: skip
    others: list[str] = []
    for helper in helpers:
        if helper not in variants:
            continue
        rows = sorted(variants[helper].items(), key=lambda item: -len(item[1]))
        out.append(f'    "{helper}": {_tuple(rows[0][0])},')
        for row, names in rows[1:]:
            others.append(f'    ("{helper}", {_tuple(row)}, {_tuple(tuple(names))}),')
    out += [
        "}",
        "",
        "# helper, its row for these program types",
        "VARIANTS: tuple[tuple[str, Row, tuple[str, ...]], ...] = (",
    ]
    out += [
        *others,
        ")",
        "",
        "# helper -> program types that may call it; TYPE/ATTACH where only some attach types may",
    ]
    out += ["ALLOWED: dict[str, tuple[str, ...]] = {"]
    for helper in helpers:
        names = [room for room in rooms if helper in rooms[room]]
        if names:
            out.append(f'    "{helper}": {_tuple(types(names, list(rooms)))},')
    out.append("}")
    return "\n".join([*out, ""])


def types(names: list[str], rooms: list[str]) -> tuple[str, ...]:
    """Rooms with `TYPE` for those of which all attach types are in; ("*",) for all."""
    if len(names) >= len(rooms) - 1 and not any(
        name.startswith("lirc") for name in set(rooms) - set(names) - {LIRC_ROOM}
    ):
        return ("*",) if LIRC_ROOM in names else ("*", f"!{LIRC_ROOM}")
    out: dict[str, None] = {}
    for name in names:
        prog = name.split("/")[0]
        whole = all(room in names for room in rooms if room.split("/")[0] == prog)
        out[prog if whole else name.rstrip("/")] = None
    return tuple(out)


def _tuple(values: tuple[Any, ...]) -> str:
    inner = ", ".join(_tuple(v) if isinstance(v, tuple) else f'"{v}"' for v in values)
    return f"({inner},)" if len(values) == 1 else f"({inner})"


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("measure", "write"):
        raise SystemExit(__doc__)
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        from measure_prototypes import measure

        measure(sys.argv[2])
