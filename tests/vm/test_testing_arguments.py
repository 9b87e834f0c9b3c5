"""What a test may give to events, and what is refused: nothing is cut to fit, nothing is ignored."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from osmia.errors import UsageError, VmFault
from osmia.testing import Vm

Make = Callable[..., Vm]
OPENAT = "tracepoint:syscalls:sys_enter_openat"
EXIT = "tracepoint:syscalls:sys_exit_openat"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"flags": (1 << 70) + 5}, r"got 1180591620717411303429 \(it takes a number of 32 bits"),
        ({"flags": 1 << 32}, "a number of 32 bits"),
        ({"dfd": -(1 << 31) - 1}, "a number of 32 bits"),
        ({"filename": 1 << 64}, "a number of 64 bits"),
        ({"flags": 1.5}, "got 1.5"),
        ({"filename": 1.5}, "filename is float"),
    ],
)
def test_numbers_that_do_not_fit_a_field(osmia_vm: Make, args: dict[str, object], why: str) -> None:
    vm = osmia_vm(OPENAT + " { @ = count(); }")
    with pytest.raises(UsageError, match=why):
        vm.fire(OPENAT, args)
    assert vm.maps["@"].value is None


def test_the_largest_and_least_numbers_fit(osmia_vm: Make) -> None:
    vm = osmia_vm(OPENAT + " { @flags = (uint32)args.flags; @dfd = (int32)args.dfd; }")
    vm.fire(OPENAT, {"flags": (1 << 32) - 1, "dfd": -(1 << 31)}, pid=(1 << 32) - 1)
    assert (vm.maps["@flags"].value, vm.maps["@dfd"].value) == ((1 << 32) - 1, -(1 << 31))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"pid": 1 << 40}, "pid 1099511627776 is not from 0 to 4294967295"),
        ({"tid": -1}, "tid -1 is not from 0"),
        ({"uid": 1 << 32}, "uid"),
        ({"gid": "x"}, "gid is str"),
        ({"ppid": 1.0}, "ppid is float"),
        ({"cgroup": 1 << 64}, "cgroup"),
        ({"cpu": -3}, r"cpu -3 is not from 0 to 3 \(the machine has CPUs 0 to 3: Vm\(\.\.\., cpus=n\)"),
        ({"cpu": 4}, "cpu 4 is not"),
        ({"comm": 5}, "comm is int"),
        ({"comm": "averyverylongname"}, r"comm 'averyverylongname' has 17 bytes \(a process has a name of up to 15"),
        ({"ret": 3}, r"a tracepoint has no return value \(leave ret out"),
        ({"regs": {"rip": 3}}, "a tracepoint has no registers"),
        ({"record": bytes(64), "args": {"flags": 1}}, "args beside record"),
        ({"record": bytes(64), "ret": 1}, "ret beside record"),
        ({"record": bytes(64), "regs": {"rax": 1}}, "regs beside record"),
    ],
)
def test_options_that_mean_nothing_or_do_not_fit(osmia_vm: Make, options: dict[str, object], why: str) -> None:
    vm = osmia_vm(OPENAT + " { @ = count(); }", cpus=4)
    with pytest.raises(UsageError, match=why):
        vm.fire(OPENAT, **options)
    assert vm.maps["@"].value is None
    vm.fire(OPENAT, cpu=3)
    assert vm.maps["@"].value == 1


def test_return_values_are_where_there_are_some(osmia_vm: Make) -> None:
    vm = osmia_vm(
        EXIT + " { @t = args.ret; } uprobe:libc:malloc { @c = count(); } uretprobe:libc:malloc { @r = retval; }"
        "interval:s:1 { @i = count(); } software:faults:1 { @s = count(); }"
    )
    with pytest.raises(UsageError, match=r"a tracepoint has no return value \(it is a field: args=\{'ret'"):
        vm.fire(EXIT, ret=3)
    vm.fire(EXIT, {"ret": 3})
    with pytest.raises(UsageError, match="a uprobe has no return value"):
        vm.fire("uprobe:libc:malloc", [1], ret=3)
    with pytest.raises(UsageError, match="does not fit 64 bits"):
        vm.fire("uretprobe:libc:malloc", ret=1 << 64)
    with pytest.raises(UsageError, match="interval events have no arguments"):
        vm.fire("interval:s:1", [1])
    with pytest.raises(UsageError, match="software events have no arguments"):
        vm.fire("software:faults:1", [1])
    with pytest.raises(UsageError, match="is no number of 64 bits for register"):
        vm.fire("uprobe:libc:malloc", regs={"rsp" if os.uname().machine == "x86_64" else "sp": 1 << 64})
    vm.fire("uretprobe:libc:malloc", ret=(1 << 64) - 1)
    assert vm.maps["@t"].value == 3 and vm.maps["@c"].value is None and vm.maps["@i"].value is None


@pytest.mark.parametrize(
    ("args", "options", "why"),
    [
        ("HOME", {}, r"uprobe:getenv: its arguments are str \(give a list: \['HOME'\]"),
        (7, {}, r"give a list: \[7\]"),
        ({"a", "b"}, {}, "its arguments are set"),
        ([1.5], {}, "arg0 is float"),
        ({"name": 7}, {}, r"nobody says in which order name come \(give a list, or arg0"),
        ({"arg99": 7}, {}, "arg99 is beyond"),
        ([], {"kstack": "main"}, "a stack of str"),
        ([], {"ustack": ["main+x"]}, r"'main\+x' is no frame of a stack"),
        ([], {"ustack": [None]}, "None is no frame"),
    ],
)
def test_arguments_of_functions(osmia_vm: Make, args: object, options: dict[str, object], why: str) -> None:
    vm = osmia_vm("uprobe:libc:getenv { @ = count(); }")
    with pytest.raises(UsageError, match=why):
        vm.fire("uprobe:libc:getenv", args, **options)
    assert vm.maps["@"].value is None


@pytest.mark.parametrize("seconds", [-1, "1", None, float("nan"), float("inf")])
def test_the_clock_takes_seconds(osmia_vm: Make, seconds: object) -> None:
    vm = osmia_vm("interval:s:1 { @ = count(); }")
    with pytest.raises(UsageError, match="advance the clock"):
        vm.advance(seconds)  # type: ignore[arg-type]
    assert vm.clock == 1_000_000_000


def test_helpers_are_numbers_or_functions(osmia_vm: Make) -> None:
    script = "interval:s:1 { @ = rand; }"
    with pytest.raises(UsageError, match=r"replace helper get_prandom_u32: 'x' is str"):
        Vm(script, helpers={"get_prandom_u32": "x"})  # type: ignore[dict-item]
    vm = osmia_vm(script)
    with pytest.raises(UsageError, match=r"None is NoneType"):
        vm.mock("get_prandom_u32", None)  # type: ignore[arg-type]


def test_an_endless_loop_ends(osmia_vm: Make) -> None:
    vm = osmia_vm("interval:s:1 { while (1) { @++; } } interval:s:3 { @three = count(); }", fuel=20_000)
    with pytest.raises(
        VmFault, match=r"the fuel is used up: an endless loop\? \(if it is none, give more fuel"
    ) as fault:
        vm.advance(1)
    assert fault.value.kind == "fuel"
    assert 100 < vm.maps["@"].value < 20_000
    with pytest.raises(VmFault):
        vm.fire("interval:s:1")
    vm.fire("interval:s:3")
    assert vm.maps["@three"].value == 1


def test_fuel_is_for_one_run(osmia_vm: Make) -> None:
    script = "interval:s:1 { for ($i : 0..100) { @++; } }"
    vm = osmia_vm(script, fuel=20_000)
    assert vm.advance(30) == 30 and vm.maps["@"].value == 3000
    with pytest.raises(VmFault, match="fuel"):
        osmia_vm(script, fuel=200).advance(1)


def test_a_plain_test_may_loop_ten_thousand_times(osmia_vm: Make) -> None:
    vm = osmia_vm("interval:s:1 { for ($i : 0..10000) { @++; } }")
    vm.advance(1)
    assert vm.maps["@"].value == 10_000


@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang, which builds the program")
@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_an_endless_loop_in_c(osmia_vm: Make, tmp_path: Path, engine: str) -> None:
    path = tmp_path / "loop.c"
    path.write_text(
        '__attribute__((section("xdp"), used)) int spin(void *c) { volatile int i = 1; while (i) i |= 2; return 2; }'
        'char _license[] __attribute__((section("license"))) = "GPL";'
    )
    vm = osmia_vm(path, checked=True, fuel=50_000, engine=engine)
    with pytest.raises(VmFault, match=r"run spin: .*loop\.c:1.*the fuel is used up.*give more fuel"):
        vm.run(bytes(64))


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_wild_pointers_of_scripts_read_zero(osmia_vm: Make, engine: str) -> None:
    vm = osmia_vm("uprobe:libc:puts { @ = *(uint64*)arg0; @text = str(arg0); }", engine=engine)
    vm.fire("uprobe:libc:puts", [0x1234])
    assert (vm.maps["@"].value, vm.maps["@text"].value) == (0, "")


def _pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    source = Path(__file__).resolve().parents[2] / "src"
    installed = any(point.name == "osmia" for point in entry_points(group="pytest11"))
    plugin = {} if installed else {"PYTEST_PLUGINS": "osmia.testing.plugin"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(source), **plugin},
    )  # fmt: skip


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
@pytest.mark.parametrize("folder", ["file/cov", "file"])
def test_a_coverage_folder_that_cannot_be_made(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "test_it.py").write_text("def test_it():\n    open('ran', 'w')\n")
    done = _pytest(tmp_path, "--osmia-coverage", folder)
    assert done.returncode == 4
    assert f"ERROR: write BPF coverage to {folder}: " in done.stderr and "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
def test_what_is_refused_is_shown_at_the_line_of_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def helper(vm):\n"
        "    vm.maps['@'].value = 'x'\n"
        "def test_call(osmia_vm):\n"
        "    helper(osmia_vm('interval:s:1 { @ = 1; }'))\n"
        "@pytest.fixture\n"
        "def vm(osmia_vm):\n"
        "    return osmia_vm('interval:s:1 { @ = x; }')\n"
        "def test_setup(vm):\n"
        "    pass\n"
        "def test_mock(osmia_vm):\n"
        "    def mock(*_):\n"
        "        vm.run('x')\n"
        "    vm = osmia_vm('interval:s:1 { @ = rand; }', helpers={'get_prandom_u32': mock})\n"
        "    vm.advance(1)\n"
    )
    for test, last in (("test_call", 3), ("test_setup", 8)):
        done = _pytest(tmp_path, "test_it.py", "-k", test)
        assert f"test_it.py:{last}: " in done.stdout and "osmia/" not in done.stdout, done.stdout
        assert "osmia/" in _pytest(tmp_path, "test_it.py", "-k", test, "--full-trace").stdout
    done = _pytest(tmp_path, "test_it.py", "-k", "test_mock")
    assert "test_it.py:13: UsageError" in done.stdout, done.stdout


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
def test_coverage_of_a_test_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from osmia.testing import Vm\n"
        "def test_it(osmia_vm):\n"
        "    osmia_vm('interval:s:1 { @ = 1; }').advance(1)\n"
        "    with Vm('interval:s:1 {\\n @x = 1;\\n @y = 2;\\n}') as vm:\n"
        "        vm.advance(1)\n"
        "    osmia_vm('interval:s:1 { @ = 1; }', engine='jit')\n"
    )
    done = _pytest(tmp_path, "--osmia-coverage", "out")
    assert done.returncode == 0 and "BPF coverage: 100.0% of lines" in done.stdout, done.stdout
    assert len(list((tmp_path / "out/scripts").iterdir())) == 2
    assert (tmp_path / "out/lcov.info").read_text().count("SF:out/scripts/script-") == 2
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    assert "BPF coverage: no program was counted: out" in _pytest(tmp_path, "--osmia-coverage", "out").stdout
    (tmp_path / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--numprocesses', type=int)")
    done = _pytest(tmp_path, "--osmia-coverage", "out", "--numprocesses", "2")
    assert done.returncode == 4 and "does not go with -n" in done.stderr


def test_what_is_behind_a_nul_is_no_part_of_a_name(osmia_vm: Make) -> None:
    vm = osmia_vm(OPENAT + " { @[comm] = count(); }")
    vm.fire(OPENAT, comm=b"\xff\x00z")
    vm.fire(OPENAT, comm="a name of 15 b.\0and more")
    assert dict(vm.maps["@"]) == {"\udcff": 1, "a name of 15 b.": 1}


CPU = OPENAT + " { @ = cpu; }"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"cpus": 0}, r"cpus is 0 \(give 1 or more"),
        ({"cpus": 8193}, r"cpus is 8193 \(give 8192 at most"),
        ({"cpus": "2"}, r"cpus is str \(give an int"),
        ({"seed": "x"}, "seed is str"),
        ({"seed": None}, "seed is NoneType"),
        ({"fuel": 0}, r"fuel is 0 \(give 1 or more"),
        ({"fuel": 1.5}, "fuel is float"),
        ({"params": ["1"]}, r"pass \$1 to script: it has none"),
        ({"helpers": {"get_smp_processor_id": 1 << 70}}, "1180591620717411303424 has more than 64 bits"),
        ({"helpers": {"get_smp_processor_id": -(1 << 63) - 1}}, "more than 64 bits"),
        ({"helpers": {"get_smp_processor_id": lambda: 1}}, "it is called with six: the machine, r1, r2, r3, r4, r5"),
        ({"helpers": {"get_smp_processor_id": lambda *, machine: 1}}, "it is called with six"),
        ({"helpers": {"get_smp_processor_id": "1"}}, "'1' is str"),
        ({"helpers": {1.5: 1}}, r"replace helper 1\.5: it is float"),
        ({"helpers": ["get_smp_processor_id"]}, "list is no dict"),
    ],
)
def test_what_no_vm_is_made_of(options: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Vm(CPU, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("x", "it returned 'x'"),
        (None, "it returned None"),
        (1.5, r"it returned 1\.5"),
        (1 << 64, ".* more than 64 bits"),
    ],
)
def test_what_a_function_for_a_helper_may_not_return(osmia_vm: Make, engine: str, result: object, why: str) -> None:
    vm = osmia_vm(CPU, engine=engine, helpers={"get_smp_processor_id": lambda *_: result})
    with pytest.raises(UsageError, match=f"replace helper get_smp_processor_id: {why}"):
        vm.fire(OPENAT)


def test_what_a_function_for_a_helper_may_return(osmia_vm: Make) -> None:
    for result in (-1, (1 << 64) - 1, True, 7):
        vm = osmia_vm(CPU, helpers={"get_smp_processor_id": lambda *_, result=result: result})
        vm.fire(OPENAT)
        assert vm.maps["@"].value == result & 0xFFFF_FFFF
    assert osmia_vm(OPENAT + " { @ = $# + $2; }", params=["1", "2", "3"]).warnings == []


@pytest.mark.parametrize("kernel", [6.1, 5, (6,), (6, "1"), b"6.1"])
def test_what_is_no_kernel(osmia_vm: Make, kernel: object) -> None:
    with pytest.raises(UsageError, match=r'is no version \(give a text, as in "6\.1"'):
        osmia_vm(CPU).verify(kernel)  # type: ignore[arg-type]


@pytest.mark.parametrize("probe", [None, 5, OPENAT.encode()])
def test_what_is_no_name_of_a_probe(osmia_vm: Make, probe: object) -> None:
    with pytest.raises(UsageError, match=f"the probe is {type(probe).__name__}"):
        osmia_vm(CPU).fire(probe)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ask",
    [
        lambda vm: vm.fire(OPENAT),
        lambda vm: vm.run(bytes(64)),
        lambda vm: vm.advance(1),
        lambda vm: vm.signal("SIGUSR1"),
        lambda vm: vm.mock("get_smp_processor_id", 1),
        lambda vm: vm.struct("task_struct"),
    ],
    ids=["fire", "run", "advance", "signal", "mock", "struct"],
)
def test_nothing_happens_in_a_closed_vm(ask: Callable[[Vm], object]) -> None:
    with Vm(CPU) as vm:
        pass
    with pytest.raises(UsageError, match=r"the Vm is closed \(do it inside the with block"):
        ask(vm)
