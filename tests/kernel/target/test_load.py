"""Loading: data sections, maps of maps, subprograms, BTF, verifier errors, nothing left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from struct import pack, unpack

import pytest
from kernel.target.bytecode import (
    COUNTS,
    PERF_EVENT,
    RAW_TP,
    RETURN_0,
    TRACEPOINT,
    XDP,
    count_function,
    count_object,
    flat_object,
    ins,
    load_map,
)

from osmia import syscalls
from osmia.btf import BtfBuilder
from osmia.errors import KernelError, MapError, NotSupported, ObjectError, VerifierError
from osmia.kernel import KernelTarget, enable_stats, list_links, list_maps, list_programs
from osmia.objects import AttachPoint, Function, LineInfo, MapSpec, Object, ProgramSpec, Relocation

BAD_READ = ins(0x79, 0, 1) + ins(0x79, 0, 0) + ins(0x95)  # r0 = *(ctx); r0 = *(r0)


def test_data_section_is_filled_and_frozen():
    code = load_map(1) + ins(0x61, 0, 1) + ins(0x95)
    spec = ProgramSpec("p", "test", RAW_TP, Function("p", code, (Relocation(0, "map_value", ".rodata", 4),)))
    data = MapSpec(".rodata", 2, 4, 8, 1, 0x80, contents=pack("<II", 11, 22), frozen=True)
    with KernelTarget().load(Object((spec,), (data,))) as loaded:
        assert loaded.programs["p"].run_once() == 22
        with pytest.raises(MapError):
            loaded.maps[".rodata"].update(bytes(4), bytes(8))
    with KernelTarget().load(Object((spec,), (data,)), contents={".rodata": pack("<II", 1, 2)}) as loaded:
        assert loaded.programs["p"].run_once() == 2


def test_subprograms_and_callbacks_are_linked():
    helper = Function("forty", ins(0xB7, 0, imm=40) + ins(0x95))
    code = ins(0x85, 0, 1) + ins(0x07, 0, imm=2) + ins(0x95)
    spec = ProgramSpec("p", "test", RAW_TP, Function("p", code, (Relocation(0, "call", "forty"),)))
    with KernelTarget().load(Object((spec,), (), (helper,))) as loaded:
        assert loaded.programs["p"].run_once() == 42


def test_maps_of_maps_and_prog_arrays_are_filled():
    inner = MapSpec("inner", 2, 4, 8, 1)
    outer = MapSpec("outer", 12, 4, 4, 2, inner=inner, values=((1, "inner"),))
    jumps = MapSpec("jumps", 3, 4, 4, 2, values=((0, "p"),))
    spec = ProgramSpec("p", "test", RAW_TP, Function("p", RETURN_0))
    with KernelTarget().load(Object((spec,), (inner, outer, jumps))) as loaded:
        assert unpack("<I", loaded.maps["outer"].lookup(pack("<I", 1)))[0] == loaded.maps["inner"].id
        assert loaded.maps["outer"].lookup(pack("<I", 0)) is None
        assert unpack("<I", loaded.maps["jumps"].lookup(pack("<I", 0)))[0] == loaded.programs["p"].id


def typed_object(code: bytes, lines: tuple[LineInfo, ...]) -> Object:
    builder = BtfBuilder()
    number = builder.int("int", 4, signed=True)
    pointer = builder.ptr(0)
    func = builder.func("p", builder.func_proto(number, (("ctx", pointer),)), linkage=1)
    function = Function("p", code, type_id=func, lines=lines)
    return Object((ProgramSpec("p", "test", RAW_TP, function),), (), btf=builder.build())


def test_verifier_errors_land_on_the_source_line():
    lines = (LineInfo(0, "a.bt", 3, 5, "kprobe:f {"), LineInfo(1, "a.bt", 4, 9, "  print(*$x)"))
    with pytest.raises(VerifierError) as caught:
        KernelTarget().load(typed_object(BAD_READ, lines))
    error = caught.value
    assert (error.program, error.file, error.line, error.source_line) == ("p", "a.bt", 4, "  print(*$x)")
    assert "a number is used as a pointer" in error.message
    assert "bpf_probe_read_kernel" in error.hint
    assert "R0 invalid mem access" in error.log
    assert "; print(*$x) @ a.bt:4" in error.log or syscalls.kernel_version() < (6, 8, 0)


def test_types_and_lines_reach_the_kernel():
    lines = (LineInfo(0, "a.bt", 1, 1, "one line"),)
    with KernelTarget().load(typed_object(RETURN_0, lines)) as loaded:
        assert loaded.notes == []
        assert loaded.programs["p"].info().btf_id > 0


def test_refused_btf_is_noted_and_done_without():
    obj = typed_object(RETURN_0, ())
    broken = obj.btf[:24] + b"\xff" * 4 + obj.btf[28:]
    with KernelTarget().load(obj.replace(btf=broken)) as loaded:
        assert "refused" in loaded.notes[0]
        assert loaded.programs["p"].run_once() == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (BAD_READ, "a number is used as a pointer"),
        (ins(0xBF, 0, 3) + ins(0x95), "never set"),
        (ins(0x79, 0, 10, -520) + ins(0x95), "stack"),
        (ins(0x7A, 10, off=-520) + RETURN_0, "stack"),
        (ins(0x85, imm=9999) + RETURN_0, "no such helper"),
        (ins(0x85, imm=9) + RETURN_0, "may not call the helper"),
        (ins(0x79, 0, 1, 4000) + RETURN_0, "context has no field"),
        (ins(0xB7) + ins(0x05, off=-1) + ins(0x95), ""),
    ],
)
def test_reasons_in_plain_words(code, words):
    type = XDP if "context" in words else RAW_TP
    with pytest.raises(VerifierError) as caught:
        KernelTarget().load(flat_object(code, type))
    assert words in caught.value.message
    assert caught.value.log


def test_a_long_log_is_kept_to_its_end():
    """40,000 instructions with a fault at the end make a log of more than the first buffer."""
    code = ins(0xB7, 2) + ins(0x07, 2, imm=1) * 40_000 + BAD_READ
    with pytest.raises(VerifierError) as caught:
        KernelTarget().load(flat_object(code))
    assert "R0 invalid mem access" in caught.value.log
    assert len(caught.value.log) > 1 << 20


def test_logs_are_kept_on_request():
    with KernelTarget().load(flat_object(RETURN_0), log_level=1) as loaded:
        assert "processed 2 insns" in loaded.logs["p"]


def test_nothing_stays_when_a_later_program_fails():
    good, bad = count_object(RAW_TP), flat_object(BAD_READ)
    both = Object(good.programs + bad.programs, good.maps)
    before = {p.id for p in list_programs()} | {m.id for m in list_maps()}
    with pytest.raises(VerifierError):
        KernelTarget().load(both)
    mine = {p.id for p in list_programs() if p.name == "count"} - before
    assert not mine


def test_only_the_programs_asked_for():
    both = Object(count_object(RAW_TP).programs + flat_object(BAD_READ).programs, (COUNTS,))
    with KernelTarget().load(both, programs=["count"]) as loaded:
        assert list(loaded.programs) == ["count"]


def test_faults_of_the_object_are_named():
    spec = ProgramSpec("count", "test", RAW_TP, count_function())
    with pytest.raises(ObjectError, match="map 'counts' is not in the object"):
        KernelTarget().load(Object((spec,), ()))
    kfunc = Function("k", ins(0x85) + RETURN_0, (Relocation(0, "kfunc", "no_such_kfunc"),))
    with pytest.raises(NotSupported, match="no_such_kfunc"):
        KernelTarget().load(Object((ProgramSpec("k", "test", RAW_TP, kfunc),), ()))


def test_kernel_functions_and_variables():
    kfunc = ins(0x85) + ins(0x85) + RETURN_0
    relocations = (Relocation(0, "kfunc", "bpf_rcu_read_lock"), Relocation(1, "kfunc", "bpf_rcu_read_unlock"))
    if syscalls.kernel_version() < (6, 2, 0):
        pytest.skip("bpf_rcu_read_lock is there since 6.2")
    spec = ProgramSpec("k", "test", RAW_TP, Function("k", kfunc, relocations))
    with KernelTarget().load(Object((spec,), ())) as loaded:
        assert loaded.programs["k"].run_once() == 0
    weak = load_map(0) + ins(0x55, 0, 0, 1) + ins(0xB7, 0, imm=5) + ins(0x95)
    for kind in ("ksym",):
        spec = ProgramSpec(
            "w", "test", RAW_TP, Function("w", weak, (Relocation(0, kind, "no_such_symbol", weak=True),))
        )
        with KernelTarget().load(Object((spec,), ())) as loaded:
            assert loaded.programs["w"].run_once() == 5


def test_lists_and_statistics():
    with enable_stats(), KernelTarget().load(count_object(RAW_TP)) as loaded:
        program = loaded.programs["count"]
        link = loaded.attach(AttachPoint("rawtracepoint", "count", function="sched_switch"))
        time.sleep(0.05)
        info = program.info()
        assert info.run_count > 0
        assert info.run_time_ns > 0
        assert info.map_ids == (loaded.maps["counts"].id,)
        assert info.id in {p.id for p in list_programs()}
        assert loaded.maps["counts"].id in {m.id for m in list_maps() if m.name == "counts"}
        assert ("raw_tracepoint", info.id) in {(one.type, one.program_id) for one in list_links()}
        loaded.detach(link)


def test_test_run_of_a_packet_program():
    with KernelTarget().load(flat_object(ins(0xB7, 0, imm=2) + ins(0x95), XDP)) as loaded:
        run = loaded.programs["p"].test_run(bytes(64), repeat=10, data_out=128)
        assert (run.retval, len(run.data)) == (2, 64)
        assert run.duration >= 0


def test_many_tracepoints_are_left_quickly():
    """Closing 300 tracepoints takes the kernel 20 s; the programs stop at once, and we do not wait for the rest."""
    folder = f"{syscalls.tracefs()}/events/syscalls"
    names = [name for name in sorted(os.listdir(folder)) if name.startswith("sys_")][:300]
    points = [AttachPoint("tracepoint", "count", target="syscalls", function=name) for name in names]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        loaded = KernelTarget().load(count_object(TRACEPOINT))
        start = time.monotonic()
        loaded.attach_many(points)
        attached = time.monotonic()
        assert len(loaded.links) == len(points)
        loaded.detach_all()
        stopped = loaded.maps["counts"].lookup(bytes(4))
        os.listdir(folder)
        assert loaded.maps["counts"].lookup(bytes(4)) == stopped
        loaded.close()
        assert time.monotonic() - attached < 10  # 0.2 s here, 5 s in an emulated guest
        assert attached - start < 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_pinned_maps_are_shared(tmp_path):
    mounted = subprocess.run(["mount", "-t", "bpf", "bpf", str(tmp_path)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"bpffs cannot be mounted: {mounted.stderr}")
    try:
        obj = count_object(RAW_TP)
        obj = obj.replace(maps=(COUNTS.replace(pinning=1),))
        folder = f"{tmp_path}/osmia"
        with KernelTarget().load(obj, pin_dir=folder) as first, KernelTarget().load(obj, pin_dir=folder) as second:
            assert first.maps["counts"].id == second.maps["counts"].id
            first.programs["count"].run_once()
            assert second.maps["counts"].lookup(bytes(4)) == pack("<Q", 1)
        other = obj.replace(maps=(COUNTS.replace(pinning=1, value_size=16),))
        with pytest.raises(MapError, match="another type"):
            KernelTarget().load(other, pin_dir=folder)
        with KernelTarget().load(obj) as loaded:
            link = loaded.attach(AttachPoint("rawtracepoint", "count", function="sched_switch"))
            try:
                link.pin(f"{folder}/link")
            except KernelError as error:
                assert error.errno in (22, 95, 524), error
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from kernel.target.bytecode import PERF_EVENT, RAW_TP, count_object, ring_object
from osmia.kernel import KernelTarget
from osmia.objects import AttachPoint
while True:
    with KernelTarget().load(count_object(PERF_EVENT)) as a, KernelTarget().load(ring_object(10)) as b:
        a.attach(AttachPoint("profile", "count", frequency=99))
        with b.reader("ring") as reader:
            b.programs["produce"].run_once()
            reader.drain()
        print("turn", flush=True)
"""


def test_kill_9_leaves_nothing():
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for delay in (0.0, 0.003, 0.007):
        child = subprocess.Popen([sys.executable, "-c", KILLED, here], stdout=subprocess.PIPE, env=dict(os.environ))
        assert child.stdout.readline() == b"turn\n"
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    # The leak check of all kernel tests looks at programs, maps and links.


def test_hundreds_of_cycles_leave_nothing():
    target = KernelTarget()
    fds = len(os.listdir("/proc/self/fd"))
    for _ in range(300):
        with target.load(count_object(PERF_EVENT)) as loaded:
            loaded.attach(AttachPoint("interval", "count", period=1 << 30))
    assert len(os.listdir("/proc/self/fd")) == fds


WITHOUT = """
import ctypes, os, struct, sys
sys.path.insert(0, sys.argv[1])
from kernel.target.bytecode import RAW_TP, XDP, count_object, flat_object, RETURN_0
from osmia import syscalls
from osmia.errors import PermissionDenied
from osmia.kernel import KernelTarget, list_programs
import osmia.kernel._verifier_log
mask = (1 << 41) - 1
for name in sys.argv[2].split(","):
    mask &= ~(1 << syscalls.CAPABILITIES.index(name))
held = 0
for line in open("/proc/self/status"):
    if line.startswith("CapEff"):
        held = int(line.split()[1], 16)
mask &= held
data = struct.pack("=6I", mask & 0xFFFFFFFF, mask & 0xFFFFFFFF, 0, mask >> 32, mask >> 32, 0)
assert ctypes.CDLL(None).capset(struct.pack("=Ii", 0x20080522, 0), data) == 0
what = {
    "map": lambda: KernelTarget().load(count_object(RAW_TP)),
    "tracing": lambda: KernelTarget().load(flat_object(RETURN_0, RAW_TP)),
    "xdp": lambda: KernelTarget().load(flat_object(RETURN_0, XDP)),
    "list": list_programs,
}[sys.argv[3]]
try:
    what()
except PermissionDenied as error:
    print(error.capability, "|", error)
"""


@pytest.mark.parametrize(
    ("missing", "action", "named"),
    [
        ("CAP_SYS_ADMIN,CAP_BPF", "map", "CAP_BPF"),
        ("CAP_SYS_ADMIN,CAP_PERFMON", "tracing", "CAP_PERFMON"),
        ("CAP_SYS_ADMIN,CAP_NET_ADMIN", "xdp", "CAP_NET_ADMIN"),
        ("CAP_SYS_ADMIN", "list", "CAP_SYS_ADMIN"),
    ],
)
def test_missing_capabilities_are_named(missing, action, named):
    """In a child without them: the message says which one is missing, and one command that helps."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, here, missing, action], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"{named} | "), done
    assert f"{named} is missing" in done.stdout
    assert "sudo capsh" in done.stdout
    assert named.lower() in done.stdout
