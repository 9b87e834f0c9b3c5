"""The founding requirements on verifier and virtual machine, by their numbers: R9 to R24, R26, R59, P18."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import osmia
from osmia.errors import UsageError, VerifierError, VmFault
from osmia.isa import MAP_TYPES, PROG_TYPES, assemble
from osmia.objects import Function, MapSpec, Object, ProgramSpec
from osmia.testing import Vm
from osmia.verifier import MapInfo, Program, Verdict, profile, verify
from osmia.verifier._policy import parse_policy
from osmia.vm import Quota, VmTarget

HASH = MapInfo(MAP_TYPES["hash"], 4, 8, 16)


def judge(text: str, kind: str = "socket_filter", kernel: str | None = None, **more: object) -> Verdict:
    return verify(Program(insns=assemble(text), type=PROG_TYPES[kind], **more), profile(kernel))  # type: ignore[arg-type]


def one(text: str, kind: str = "xdp", maps: tuple[MapSpec, ...] = ()) -> Object:
    function = Function(name="it", insns=assemble(text))
    program = ProgramSpec(name="it", section=kind, type=PROG_TYPES[kind], function=function)
    return Object(programs=(program,), maps=maps)


def test_r9_every_program_is_verified_before_it_runs() -> None:
    with pytest.raises(VerifierError, match="R0 !read_ok"):
        VmTarget().load(one("exit"))


def test_r10_unreachable_instructions_are_refused() -> None:
    assert judge("r0 = 0\nexit\nr0 = 1\nexit").message == "unreachable insn 2"


def test_r11_the_graph_is_checked_and_then_the_execution() -> None:
    assert "jump out of range" in judge("r0 = 0\nif r0 == 0 goto pc+7\nexit").message
    broken = verify(Program(insns=b"\xff" + bytes(7) + assemble("r0 = 0\nexit"), type=1))
    assert not broken.accepted
    assert judge("r0 = *(u8 *)(r1 - 1)\nexit").accepted is False


LOOP = "r0 = 0\nl:\nr0 += 1\nif r0 < {} goto l\nr0 = 0\nexit"


def test_r12_no_endless_loops_and_bounded_ones_by_kernel_version() -> None:
    assert "infinite loop" in judge("r0 = 0\nl:\nif r0 == 0 goto l\nexit").message
    assert judge(LOOP.format(50)).accepted
    assert judge(LOOP.format(50), kernel="5.3").accepted
    assert "back-edge" in judge(LOOP.format(50), kernel="5.2").message


def test_r13_the_instruction_budget() -> None:
    assert "too large" in judge(LOOP.format(2_000_000_000).replace("r0 < 2", "r0 < 2")).message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("r0 = 0\nr0 = *(u64 *)(r10 + 8)\nexit", "invalid read from stack"),
        ("r0 = r5\nexit", "R5 !read_ok"),
        ("r1 = 0\nr0 = *(u64 *)(r1 + 0)\nexit", "invalid mem access 'scalar'"),
        (
            "r2 = r10\nr2 += -8\nr1 = 0\n*(u64 *)(r10 - 8) = r1\nr1 = map[fd:0]\ncall map_lookup_elem\n"
            "r0 = *(u64 *)(r0 + 0)\nexit",
            "map_value_or_null",
        ),
    ],
)
def test_r14_the_host_cannot_be_crashed(text: str, why: str) -> None:
    assert why in judge(text, maps=(HASH,)).message


def test_r14_unverified_programs_are_bounded_as_they_run() -> None:
    target = VmTarget(checked=True)
    with target.load(one("r1 = 0\nr0 = *(u64 *)(r1 + 0)\nexit", "kprobe")) as wild, pytest.raises(VmFault):
        wild.programs["it"].run_once()
    with target.load(one("l:\nr0 = 0\ngoto l\nexit", "kprobe")) as endless, pytest.raises(VmFault, match="fuel"):
        endless.programs["it"].run_once()


def test_r15_who_may_not_call_bpf_is_told_what_is_missing() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may: tests/kernel/environment drops the capabilities one by one")
    done = subprocess.run(
        [sys.executable, "-m", "osmia", "trace", "-e", "interval:s:1 { exit() }"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "CAP_BPF" in done.stderr
    assert "Traceback" not in done.stderr


def test_r16_the_stack_is_512_bytes_across_calls_and_the_message_helps() -> None:
    deep = "r1 = 0\n*(u64 *)(r10 - 400) = r1\ncall f\nexit\nf:\nr1 = 0\n*(u64 *)(r10 - 304) = r1\nr0 = 0\nexit"
    verdict = judge(deep)
    assert "combined stack size" in verdict.message
    assert verdict.explanation is not None
    assert "map" in verdict.explanation.remedy
    assert not judge("r1 = 0\n*(u64 *)(r10 - 520) = r1\nr0 = 0\nexit").accepted


def test_r17_4096_instructions_before_5_2() -> None:
    long = "r0 = 0\n" * 5000 + "exit"
    assert not judge(long, kernel="5.1").accepted
    assert judge(long, kernel="5.2").accepted


def test_r18_helpers_by_program_type() -> None:
    redirect = "r1 = 1\nr2 = 0\ncall redirect\nexit"
    assert judge(redirect, "xdp").accepted
    assert "cannot use helper bpf_redirect" in judge(redirect, "kprobe").message


def test_r19_kernel_memory_only_through_helpers() -> None:
    direct = "call get_current_task\nr0 = *(u64 *)(r0 + 0)\nexit"
    assert "invalid mem access" in judge(direct, "kprobe").message
    read = "call get_current_task\nr3 = r0\nr2 = 8\nr1 = r10\nr1 += -8\ncall probe_read_kernel\nr0 = 0\nexit"
    assert judge(read, "kprobe").accepted


def test_r20_the_kernel_floor() -> None:
    with pytest.raises(osmia.OsmiaError, match=r"begin at 4\.14"):
        profile("4.4")
    ring = "r1 = map[fd:0]\nr2 = 8\nr3 = 0\ncall ringbuf_reserve\nr0 = 0\nexit"
    verdict = judge(ring, "kprobe", "5.4", maps=(MapInfo(MAP_TYPES["ringbuf"], 0, 0, 4096),))
    assert verdict.explanation is not None
    assert "5.8" in verdict.explanation.remedy


def test_r21_interpreter_and_native_code_agree() -> None:
    work = one("r6 = 0\nr0 = 1\nl:\nr0 *= 3\nr0 += r6\nr6 += 1\nif r6 < 40 goto l\nw0 = w0\nexit", "kprobe")
    results = set()
    for engine in ("interpreter", "jit"):
        with VmTarget(engine=engine).load(work) as loaded:
            assert loaded.programs["it"].engine == engine
            results.add(loaded.programs["it"].run_once())
    assert len(results) == 1


def test_r22_eleven_registers_of_64_bits_and_512_bytes_of_stack() -> None:
    fill = "".join(f"r{n} = {n}\n" for n in range(1, 10))
    total = "r0 = 0\n" + "".join(f"r0 += r{n}\n" for n in range(1, 10))
    edge = "*(u64 *)(r10 - 512) = r0\nr0 = *(u64 *)(r10 - 512)\nexit"
    with VmTarget(engine="interpreter").load(one(fill + total + edge, "kprobe")) as loaded:
        assert loaded.programs["it"].run_once() == 45


def test_r23_a_policy_and_an_audit_log_of_every_load(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    policy = parse_policy('[helpers]\ndeny = ["get_prandom_u32"]\n')
    target = VmTarget(policy=policy, audit=log)
    target.load(one("r0 = 2\nexit")).close()
    with pytest.raises(VerifierError, match=r"policy forbids it: .*get_prandom_u32"):
        target.load(one("call get_prandom_u32\nexit"))
    with pytest.raises(VerifierError, match="!read_ok"):
        target.load(one("exit"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["loaded", "forbidden", "refused"]
    assert {line["type"] for line in lines} == {"xdp"}
    assert all(len(line["sha256"]) == 64 and line["uid"] == os.getuid() for line in lines)


def test_r23_nothing_is_loaded_that_cannot_be_logged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the audit log"):
        VmTarget(audit=tmp_path / "no" / "audit").load(one("r0 = 2\nexit"))


def test_r24_a_programs_runs_are_limited_and_what_is_skipped_is_counted() -> None:
    with VmTarget(quota=Quota(runs=5)).load(one("r0 = 2\nexit", "kprobe")) as loaded:
        results = [loaded.programs["it"].run_once() for _ in range(12)]
        assert results.count(2) <= 10  # a second may end in between
        assert loaded.skipped == {"it": results.count(0)}
        assert results.count(0) >= 2


def test_r24_a_programs_share_of_a_cpu_is_limited() -> None:
    slow = one("r6 = 0\nl:\nr6 += 1\nif r6 < 100000 goto l\nr0 = 2\nexit", "kprobe")
    with VmTarget(engine="interpreter", checked=True, quota=Quota(share=0.001)).load(slow) as loaded:
        program = loaded.programs["it"]
        results = [program.run_once() for _ in range(5)]
        assert results == [2, 0, 0, 0, 0]
        assert program.meter is not None
        assert program.meter.nanoseconds > 1_000_000


def test_r24_maps_have_a_budget_and_are_each_objects_own() -> None:
    table = MapSpec(name="table", type=MAP_TYPES["array"], key_size=4, value_size=8, max_entries=1000)
    obj = one("r0 = 2\nexit", maps=(table,))
    with pytest.raises(UsageError, match="12000 bytes, 8192 are allowed"):
        VmTarget(quota=Quota(map_bytes=8192)).load(obj)
    with VmTarget().load(obj) as first, VmTarget().load(obj) as second:
        first.maps["table"].update(bytes(4), b"8 bytes!")
        assert second.maps["table"].lookup(bytes(4)) == bytes(8)


# Types that user space has no use for, and why.
ELSEWHERE = {"struct_ops": "replaces functions of the kernel", "arena": "shares pages between the kernel and a process"}


@pytest.mark.parametrize("kind", sorted(set(MAP_TYPES) - {"unspec"} - set(ELSEWHERE)))
def test_r26_every_kind_of_map_is_there(kind: str) -> None:
    sizes = {
        "ringbuf": (0, 0, 4096), "user_ringbuf": (0, 0, 4096), "queue": (0, 8, 4), "stack": (0, 8, 4),
        "bloom_filter": (0, 8, 4), "lpm_trie": (8, 8, 4), "stack_trace": (4, 64, 4), "cgroup_storage": (8, 8, 0),
        "percpu_cgroup_storage": (8, 8, 0), "sk_storage": (4, 8, 0), "inode_storage": (4, 8, 0),
        "task_storage": (4, 8, 0), "cgrp_storage": (4, 8, 0), "xskmap": (4, 4, 4),
    }.get(kind.removesuffix("_deprecated"), (4, 4, 4))  # fmt: skip
    flags = 1 if kind == "lpm_trie" or kind.endswith("k_storage") or kind in ("inode_storage", "cgrp_storage") else 0
    inner = MapSpec(name="inner", type=MAP_TYPES["array"], key_size=4, value_size=4, max_entries=1)
    spec = MapSpec(
        name="m", type=MAP_TYPES[kind], key_size=sizes[0], value_size=sizes[1], max_entries=sizes[2], flags=flags,
        inner=inner if kind.endswith("_of_maps") else None,
    )  # fmt: skip
    with VmTarget().load(one("r0 = 2\nexit", maps=(spec,))) as loaded:
        assert loaded.maps["m"].type == MAP_TYPES[kind]


def test_r59_a_script_runs_on_synthetic_events_without_root() -> None:
    with Vm("tracepoint:syscalls:sys_enter_openat { @[comm, str(args.filename)] = count(); }") as vm:
        vm.fire("tracepoint:syscalls:sys_enter_openat", {"filename": "/etc/hosts"}, comm="cat")
        vm.fire("tracepoint:syscalls:sys_enter_openat", {"filename": "/etc/hosts"}, comm="cat")
        assert dict(vm.maps["@"]) == {("cat", "/etc/hosts"): 2}


# cgroup_skb: bytes and packets by cgroup, in a hash of (u64 cgroup) -> (u64 packets, u64 bytes).
TRAFFIC = """
r6 = r1
call skb_cgroup_id
*(u64 *)(r10 - 8) = r0
r2 = r10
r2 += -8
r1 = map[fd:0]
call map_lookup_elem
if r0 == 0 goto new
r1 = 1
lock *(u64 *)(r0 + 0) += r1
r1 = *(u32 *)(r6 + 0)
lock *(u64 *)(r0 + 8) += r1
goto out
new:
r1 = 1
*(u64 *)(r10 - 24) = r1
r1 = *(u32 *)(r6 + 0)
*(u64 *)(r10 - 16) = r1
r1 = map[fd:0]
r2 = r10
r2 += -8
r3 = r10
r3 += -24
r4 = 0
call map_update_elem
out:
r0 = 1
exit
"""


def test_p18_traffic_per_container() -> None:
    from osmia.objects import Relocation

    code = assemble(TRAFFIC)
    loads = [n // 8 for n in range(0, len(code), 8) if code[n] == 0x18]
    function = Function(
        name="traffic", insns=code, relocations=tuple(Relocation(insn=n, kind="map", symbol="by_cgroup") for n in loads)
    )
    table = MapSpec(name="by_cgroup", type=MAP_TYPES["hash"], key_size=8, value_size=16, max_entries=64)
    program = ProgramSpec(
        name="traffic", section="cgroup_skb/ingress", type=PROG_TYPES["cgroup_skb"], function=function
    )
    frames = [bytes(12) + b"\x08\x00\x45" + bytes(length - 15) for length in (60, 100, 200)]
    with VmTarget().load(Object(programs=(program,), maps=(table,))) as loaded:
        sent = {}
        for container in (11, 22):
            loaded.machine.world.cgroup_id = container
            for frame in frames[: 1 + container // 11]:
                result = loaded.programs["traffic"].run_packet(frame)
                assert result.verdict == 1
                packets, size = sent.get(container, (0, 0))
                sent[container] = packets + 1, size + len(frame)
        found = {
            int.from_bytes(k, "little"): (int.from_bytes(v[:8], "little"), int.from_bytes(v[8:], "little"))
            for k, v in loaded.maps["by_cgroup"].items()
        }
    assert set(found) == {11, 22}
    assert {c: n for c, (n, _) in found.items()} == {c: n for c, (n, _) in sent.items()}
    # A cgroup program sees packets from the network header on.
    assert all(found[c][1] in (size, size - 14 * n) for c, (n, size) in sent.items())
