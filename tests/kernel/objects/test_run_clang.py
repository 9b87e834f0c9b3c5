"""`osmia run` of objects that clang built: exact counts of known work, and errors that say what to do."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _tracing import command, start_command
from _workloads import Workload

pytestmark = pytest.mark.usefixtures("tracefs")

SOURCE = r"""
struct task_struct___any { int tgid; struct task_struct___any *real_parent; } __attribute__((preserve_access_index));
struct seen { u32 pid; u32 parent; u64 number; char comm[16]; };
struct key { u32 pid; char comm[16]; };
enum mode { OFF, ON = 3 };
struct stat { u64 n; u32 last; enum mode mode; u8 flags:3, more:5; };
struct { __uint(type, 1); __uint(max_entries, 64); __type(key, struct key); __type(value, u64); } counts SEC(".maps");
struct { __uint(type, 9); __uint(max_entries, 64); __type(key, u32); __type(value, struct stat); } stats SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 2); __type(key, u32); __type(value, u64); } total SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 4); __type(key, u32); __type(value, int); } slots SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 1 << 20); __type(value, struct seen); } events SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 1 << 16); } raw SEC(".maps");
struct { __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
const volatile u32 only = 0;
const volatile enum mode mode = OFF;
const volatile char tag[4] = "no";
u64 number;
u64 rounds;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_kernel)(void *, u32, const void *) = (void *)113;
static long (*bpf_ringbuf_output)(void *, void *, u64, u64) = (void *)130;
static long (*bpf_perf_event_output)(void *, void *, u64, void *, u64) = (void *)25;
static long (*bpf_get_current_comm)(void *, u32) = (void *)16;
static long (*bpf_trace_printk)(const char *, u32, ...) = (void *)6;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;

static int callback(u32 i, void *ctx) { rounds++; return i == 4; }
static noinline int put(u32 at, int value)
{
    int *slot = bpf_map_lookup_elem(&slots, &at);
    if (slot) *slot = value;
    return slot != 0;
}
SEC("tracepoint/syscalls/sys_enter_openat") int on_open(void *ctx)
{
    struct task_struct___any *task = (void *)bpf_get_current_task(), *parent = 0;
    u32 pid = bpf_get_current_pid_tgid() >> 32, zero = 0;
    u64 one = 1, *count;
    struct key key = { pid };
    struct seen seen = {};

    if (pid != only)
        return 0;
    bpf_get_current_comm(key.comm, sizeof key.comm);
    if ((count = bpf_map_lookup_elem(&counts, &key)))
        __sync_fetch_and_add(count, 1);
    else
        bpf_map_update_elem(&counts, &key, &one, 0);
    struct stat stat = { number, pid, mode, 5, 17 };
    bpf_map_update_elem(&stats, &pid, &stat, 0);
    if ((count = bpf_map_lookup_elem(&total, &zero)))
        *count += 2;
    seen.pid = pid;
    bpf_probe_read_kernel(&parent, sizeof parent, &task->real_parent);
    bpf_probe_read_kernel(&seen.parent, 4, &parent->tgid);
    seen.number = ++number;
    bpf_get_current_comm(seen.comm, sizeof seen.comm);
    bpf_ringbuf_output(&events, &seen, sizeof seen, 0);
    bpf_ringbuf_output(&raw, (void *)&number, 3, 0);
    bpf_perf_event_output(ctx, &perf, 0xffffffff, &seen, 8);
    bpf_loop(10, callback, 0, 0);
    if (bpf_rcu_read_lock) {
        bpf_rcu_read_lock();
        put(2, -(int)tag[0]);
        bpf_rcu_read_unlock();
    }
    static const char text[] = "opened %d";
    bpf_trace_printk(text, sizeof text, (u32)number);
    return 0;
}
char LICENSE[] SEC("license") = "GPL";
"""
N = 40


@pytest.fixture(scope="module")
def built(compile_c: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clang")
    compile_c(SOURCE, folder)
    return folder / "test.bpf.o"


def run(work: Workload, file: Path, *options: str) -> str:
    argv = ["run", str(file), "-p", str(work.pid), "--set", f"only={work.pid}", *options]
    with start_command(*argv) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        # Talk on stderr, and as JSON the first line of the data.
        first = process.stdout.readline() if "json" in options else process.stderr.readline()
        assert "ttached" in first, first + process.stderr.read()
        work.finish()
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        return str(out)


def test_everything_is_counted_and_printed(built: Path, workload: Callable[..., Workload]) -> None:
    work = workload("opens", "/etc/hostname", N)
    pid, comm = work.pid, "osmia-work"
    out = run(work, built, "--set", "mode=ON", "--set", "tag=A")
    records, _, maps = out.partition("\n\n\n")
    lines = records.splitlines()
    assert [line for line in lines if line.startswith("events")] == [
        f"events: {{ .pid = {pid}, .parent = {os.getpid()}, .number = {i}, .comm = {comm} }}" for i in range(1, N + 1)
    ]
    assert [line for line in lines if line.startswith("raw")] == [f"raw: {i:02x} 00 00" for i in range(1, N + 1)]
    assert sum(line.startswith("perf: " + pid.to_bytes(4, "little").hex(" ")) for line in lines) == N
    assert maps.splitlines() == [
        f"counts[{{ .pid = {pid}, .comm = {comm} }}]: {N}",
        f"slots[2]: {-ord('A')}",
        f"stats[{pid}]: {{ .n = {N - 1}, .last = {pid}, .mode = ON, .flags = 5, .more = 17 }}",
        f"total[0]: {2 * N}",
        f"number: {N}",
        f"rounds: {5 * N}",
    ]


def test_json(built: Path, workload: Callable[..., Workload]) -> None:
    work = workload("opens", "/etc/hostname", 3)
    found = [json.loads(line) for line in run(work, built, "-o", "json").splitlines()]
    events = [row["data"]["events"] for row in found if row["type"] == "record" and "events" in row["data"]]
    assert [(e["pid"], e["number"], e["comm"]) for e in events] == [(work.pid, i, "osmia-work") for i in (1, 2, 3)]
    maps = {name: value for row in found if row["type"] == "map" for name, value in row["data"].items()}
    assert maps["total"] == {"0": 6}
    assert (maps["number"], maps["rounds"]) == (3, 15)
    assert maps["stats"] == {str(work.pid): {"n": 2, "last": work.pid, "mode": 0, "flags": 5, "more": 17}}
    assert maps["counts"] == {f"{{.pid={work.pid},.comm=osmia-work}}": 3}


def test_types_of_records_can_be_given(built: Path, workload: Callable[..., Workload]) -> None:
    work = workload("opens", "/etc/hostname", 2)
    out = run(work, built, "--ring", "events", "--ring", "perf:struct key")
    assert out.count("events: " + work.pid.to_bytes(4, "little").hex(" ")) == 2  # as bytes
    assert out.count("perf: " + work.pid.to_bytes(4, "little").hex(" ")) == 2  # too short for that type


def test_trace_pipe(built: Path, workload: Callable[..., Workload]) -> None:
    work = workload("opens", "/etc/hostname", 5)
    out = run(work, built, "--trace-pipe")
    # The kernel remembers few names of tasks: without one it prints <...>.
    lines = [line for line in out.splitlines() if f"-{work.pid} " in line]
    assert [line.rpartition(": ")[2] for line in lines] == [f"opened {i}" for i in range(1, 6)]
    assert all(": bpf_trace_printk: " in line for line in lines)


def test_what_is_in_a_file(built: Path) -> None:
    done = command("run", "--dry-run", "-v", "--set", "mode=ON", str(built))
    assert done.returncode == 0, done.stderr
    for row in (
        ("program", "on_open", "section tracepoint/syscalls/sys_enter_openat, tracepoint, "),
        ("subprogram", "put", "instructions"),
        ("map", "counts", "hash, key 20 bytes, value 8 bytes, 64 entries: struct key -> uint64"),
        ("map", "events", "ringbuf, key 0 bytes, value 0 bytes, 1048576 entries: struct seen"),
        ("variable", "mode", "enum mode in .rodata, ON"),
        ("variable", "rounds", "uint64 in .bss, 0"),
    ):
        assert any(line.split(None, 2)[:2] == list(row[:2]) and row[2] in line for line in done.stdout.splitlines()), (
            row
        )


LICENSE = 'char LICENSE[] SEC("license") = "GPL";'
NO_MEMBER = r"""
struct task_struct { int tgid; int no_such_member; } __attribute__((preserve_access_index));
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_kernel)(void *, u32, const void *) = (void *)113;
int out;
SEC("raw_tp/sys_enter") int on(void *ctx)
{
    struct task_struct *t = (void *)bpf_get_current_task();
    return bpf_probe_read_kernel(&out, 4, &t->no_such_member);
}
"""
COUNTS = (
    'struct { __uint(type, 1); __uint(max_entries, 8); __type(key, u32); __type(value, u64); } counts SEC(".maps");'
)
ERRORS = {
    "unknown section": (
        'SEC("nonsense/foo") int on(void *ctx) { return 0; }', ("-g",),
        "test.bpf.o: section 'nonsense/foo' names no program type", "program_types",
    ),
    "missing section": (
        f'{COUNTS} SEC("raw_tp/x") int on(void *c) {{ u32 k = 1; return !bpf_map_lookup_elem(&counts, &k); }}', (),
        "test.bpf.o: .maps needs BTF", "compile with -g",
    ),
    "missing member": (
        NO_MEMBER, ("-g",),
        "load on: this kernel's types have no task_struct.no_such_member, which the program needs at ",
        "bpf_core_field_exists",
    ),
    "missing tracepoint": (
        'SEC("tp/syscalls/no_such") int on(void *ctx) { return 0; }', ("-g",),
        "attach tracepoint:syscalls:no_such: no such tracepoint", "osmia list",
    ),
    "missing kfunc": (
        'extern void bpf_no_such(void) __ksym; SEC("raw_tp/sys_enter") int on(void *ctx) { bpf_no_such(); return 0; }',
        ("-g",), "load on: this kernel has no kfunc 'bpf_no_such'", "__weak",
    ),
    "refused by the verifier": (
        'int out; SEC("raw_tp/sys_enter") int on(u64 *ctx) { return *(int *)ctx[0]; }', ("-g",),
        "load on: the verifier refused it at ", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, compile_c: Callable[..., bytes], tmp_path: Path) -> None:
    """What is wrong and where, what to do next, exit status 1; no traceback."""
    source, flags, message, hint = ERRORS[name]
    compile_c(source + LICENSE, tmp_path, flags=flags)
    check(command("run", "--duration", "2", str(tmp_path / "test.bpf.o")), message, hint)


def check(done: subprocess.CompletedProcess[str], message: str, hint: str) -> None:
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("osmia: ") and message in lines[0], done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    if hint:
        assert lines[1].startswith("hint: ") and hint in lines[1], done.stderr


def test_files_that_are_no_objects(tmp_path: Path, built: Path) -> None:
    text, cut = tmp_path / "text.o", tmp_path / "cut.o"
    text.write_text("int main;")
    check(command("run", str(text)), f"read {text}: not an ELF file", "")
    check(command("run", "/bin/true"), "read /bin/true: not a BPF object (ELF type", "clang -target bpf")
    cut.write_bytes(built.read_bytes()[:700])
    check(command("run", str(cut)), f"read {cut}: ", "")
    missing = command("run", str(tmp_path / "none.o"))
    assert missing.returncode == 2 and "no such file" in missing.stderr


def test_what_variables_and_rings_cannot_be(built: Path) -> None:
    check(
        command("run", "--set", "nope=1", str(built)), "set nope: the object has no such variable", "it has only, mode"
    )
    check(command("run", "--set", "only=-1", str(built)), "set only: -1 is not from 0 to 4294967295", "")
    check(command("run", "--ring", "nope", str(built)), "read records of nope", "events, raw, perf")
    check(command("run", "--ring", "raw:nix", str(built)), "the object's BTF has no type 'nix'", "seen")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('SEC("xdp") int pass(void *ctx) { return 2; }',
         "No probes to attach\nhint: sections do not say what programs of these types are attached to: xdp; "
         "--pcap-in runs them on packets\n"),
        ('struct { __uint(type, 7); __uint(key_size, 4); } stacks SEC(".maps");\n'
         'SEC("tracepoint/syscalls/sys_enter_getppid") int on(void *ctx)\n'
         '{ return ((long (*)(void *, void *, long))27)(ctx, &stacks, 0); }',
         "osmia: create map stacks: it has no size: key 4, value 0, 0 entries\n"
         "hint: a loader of its own sets it before it loads the object"),
    ],
    ids=["xdp", "sized by its loader"],
)  # fmt: skip
def test_objects_that_need_more_than_a_loader(
    text: str, said: str, compile_c: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "needs.o"
    path.write_bytes(compile_c(text + LICENSE, tmp_path))
    done = command("run", str(path))
    assert done.returncode == 1 and done.stderr.startswith(said)
