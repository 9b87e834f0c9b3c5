"""What `osmia build` writes, seen by bpftool and libbpf, and run by `osmia run` next to `osmia trace`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _tracing import command, start_command
from _workloads import Workload

from osmia.lang.bpftrace import compile_script
from osmia.objects import Object, read_elf, write_elf

pytestmark = pytest.mark.usefixtures("tracefs")

OPENAT = "tracepoint:syscalls:sys_enter_openat /pid == $1/"
SCRIPTS = {
    "maps": f"{OPENAT} {{ @n[comm] = count(); @s = sum(2); @m = max(args.flags); @p[1] += 3; "
    "@d[1] = 1; delete(@d, 1); }",
    "strings": f"""{OPENAT} {{
  $f = str(args.filename);
  @[$f] = count();
  if (strncmp($f, "/etc", 4) == 0) {{ @etc[$f, comm] = 1; }}
  @has[strcontains($f, "host")] = count();
}}""",
    "loops": f"""{OPENAT} {{
  $i = 0;
  while ($i < 5) {{ @w[$i] = $i * 2; $i++; }}
  for ($j : 0..4) {{ @r[$j] += 1; }}
  for ($kv : @w) {{ @sum += $kv.1; }}
}}""",
    "printf": f"""BEGIN {{ printf("begin\\n"); }}
{OPENAT} {{ printf("%s %d %s\\n", comm, pid == $1, str(args.filename)); }}""",
    "hist": f"{OPENAT} {{ @h = hist(args.flags); @l = lhist(150, 0, 1000, 100); @a = avg(7); @st[comm] = stats(5); }}",
    "stacks": f"{OPENAT} {{ @[kstack(3)] = count(); @d[comm, kstack(1)] = sum(4); }}",
    "structs": f"""struct pair {{ int a; long b; char c[8]; }}
{OPENAT} {{
  $t = (struct task_struct *)curtask;
  @task[$t->comm, $t->tgid == $1, $t->real_parent->tgid == ppid] = count();
  @tuple = (1, (uint8)2, "abc");
  @size = sizeof(struct pair);
}}""",
    "uprobe": "uprobe:$2:add /pid == $1/ { @calls = count(); @arg[arg0 + arg1] = count(); }"
    " uretprobe:$2:add /pid == $1/ { @ret = sum((int32)retval); }",
    "usdt": "usdt:$2:osmia_test:request /pid == $1/ { @[probe] = count(); @a = sum(arg0); @f[str(arg2)] = count(); }"
    " usdt:$2:osmia_test:idle /pid == $1/ { @idle = count(); }",
}  # fmt: skip


@pytest.fixture
def start(workload: Callable[..., Workload], program: Callable[..., Workload]) -> Callable[[str], Workload]:
    """A fresh process, waiting at its gate, that does what the script `name` looks at."""

    def one(name: str) -> Workload:
        if name in ("uprobe", "usdt"):
            return program("calls.c" if name == "uprobe" else "usdt.c", 6)
        return workload("opens", "/etc/hostname", 12)

    return one


def compiled_script(name: str, work: Workload) -> Object:
    return compile_script(SCRIPTS[name].replace("$2", work.argv[0]), name=f"{name}.bt", params=(str(work.pid),))


@pytest.fixture
def bpftool_load(tmp_path: Path) -> Callable[[bytes], dict[str, str]]:
    """Load an object with bpftool: name of each pinned program -> its `dump xlated linum`.

    In a mount namespace of its own, with which the file system, the pins and the programs go.
    """
    bpftool, unshare = shutil.which("bpftool") or "/usr/sbin/bpftool", shutil.which("unshare")
    if not os.path.exists(bpftool) or unshare is None:
        pytest.skip("bpftool or unshare is not installed")
    script = """mount -t bpf none /sys/fs/bpf || exit 77
"$0" prog loadall "$1" /sys/fs/bpf/x || exit 1
for p in /sys/fs/bpf/x/*; do echo "=== ${p##*/}"; "$0" prog dump xlated pinned "$p" linum || exit 1; done"""

    def run(data: bytes) -> dict[str, str]:
        path = tmp_path / "built.bpf.o"
        path.write_bytes(data)
        argv = [unshare, "-m", "sh", "-c", script, bpftool, str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 77:
            pytest.skip(f"cannot mount a BPF file system: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Error loading .BTF" not in done.stderr
        parts = done.stdout.split("=== ")[1:]
        return {head: dump for head, _, dump in (part.partition("\n") for part in parts)}

    return run


@pytest.mark.parametrize("name", SCRIPTS)
def test_libbpf_loads_it_with_lines(
    name: str, start: Callable[[str], Workload], bpftool_load: Callable[[bytes], dict[str, str]]
) -> None:
    obj = compiled_script(name, start(name))
    dumps = bpftool_load(write_elf(obj))
    assert set(dumps) == {p.name for p in obj.programs}
    source = [line.strip() for line in SCRIPTS[name].splitlines()]
    for dump in dumps.values():
        lines = [line for line in dump.splitlines() if f"[file:{name}.bt line_num:" in line]
        assert lines
        for line in lines:
            text, _, place = line.removeprefix("; ").partition(" [file:")
            number = int(place.partition("line_num:")[2].split(" ")[0])
            if "$2" not in source[number - 1]:
                assert text.strip() == source[number - 1]


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("portable", [False, True])
def test_elf_gives_back_the_same_object(name: str, portable: bool, start: Callable[[str], Workload]) -> None:
    work = start(name)
    script = SCRIPTS[name].replace("$2", work.argv[0])
    obj = compile_script(script, name=f"{name}.bt", params=(str(work.pid),), portable=portable)
    data = write_elf(obj)
    assert read_elf(data) == obj
    assert write_elf(read_elf(data)) == data


def output_of(work: Workload, *argv: str) -> str:
    """What `osmia ARGV...` prints about `work`, which begins when everything is attached and ends the trace."""
    with start_command(*argv, "-p", str(work.pid)) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("Attached "), said + process.stderr.read()
        work.finish()
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0 and err == "", err
        return str(out)


@pytest.mark.parametrize("name", SCRIPTS)
def test_run_prints_what_trace_prints(name: str, start: Callable[[str], Workload], tmp_path: Path) -> None:
    """The same work of two processes: as a file that was built, and as a script."""
    first, second = start(name), start(name)
    file, built = tmp_path / f"{name}.bt", tmp_path / f"{name}.bpf.o"
    file.write_text(SCRIPTS[name].replace("$2", first.argv[0]))
    done = command("build", "-o", str(built), str(file), str(first.pid))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ran = output_of(first, "run", str(built))
    traced = output_of(second, "trace", str(file), str(second.pid))
    assert ran == traced
    assert len(ran.strip()) > 10


def test_portable_object_runs_here(start: Callable[[str], Workload], tmp_path: Path) -> None:
    work = start("structs")
    file, built = tmp_path / "structs.bt", tmp_path / "structs.bpf.o"
    file.write_text(SCRIPTS["structs"])
    assert command("build", "--portable", "-o", str(built), str(file), str(work.pid)).returncode == 0
    assert "@task[osmia-work, true, true]: 12\n" in output_of(work, "run", str(built))


def test_libbpf_finds_members_as_we_do(
    start: Callable[[str], Workload], bpftool_load: Callable[[bytes], dict[str, str]]
) -> None:
    """A portable object has relocations, and libbpf loads it."""
    obj = compile_script(SCRIPTS["structs"], name="structs.bt", params=("1",), portable=True)
    assert sum(len(p.function.core) for p in obj.programs) >= 4
    assert set(bpftool_load(write_elf(obj))) == {p.name for p in obj.programs}
