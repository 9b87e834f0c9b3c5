"""User addresses to names, in processes of our own. Oracle: what the programs print about themselves, and nm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osmia.elf import open_elf
from osmia.errors import SymbolError
from osmia.symbols import ProcessSymbols, UserSymbols, demangle
from osmia.symbols._maps import parse_maps
from osmia.symbols._perfmap import PerfMap
from osmia.symbols._table import SymbolTable

# Prints the run-time addresses of two functions, loads a library if told to, and waits for a line.
CODE = """
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int work(int x) { return x * 2; }
static int quiet(int x) { return x + 1; }
int main(int argc, char **argv) {
    char line[64];
    printf("%p %p\\n", (void *)work, (void *)quiet); fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (argc > 1) {
            void *lib = dlopen(argv[1], RTLD_NOW);
            printf("%p\\n", lib ? dlsym(lib, "lib_work") : 0); fflush(stdout);
        } else break;
    }
    return work(quiet(0)) > 5;
}
"""
LIBRARY = "int lib_work(int x) { return x + 3; }\n"


class Running:
    """A started program and the addresses that it printed."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.addresses = self.ask(None)

    def ask(self, line: str | None) -> list[int]:
        assert self.process.stdin and self.process.stdout
        if line is not None:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        return [int(word, 16) for word in self.process.stdout.readline().split()]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*argv: str) -> Running:
        started.append(Running(*argv))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., str]:
    def compile(name: str, code: str, *flags: str) -> str:
        if not shutil.which("gcc"):
            pytest.skip("gcc is not installed")
        source = tmp_path / f"{name}.c"
        source.write_text(code)
        subprocess.run(["gcc", "-O0", *flags, "-o", tmp_path / name, source, "-ldl"], check=True, timeout=60)
        return str(tmp_path / name)

    return compile


@pytest.mark.parametrize("flag", ["-pie", "-no-pie"])
def test_functions_of_a_program(build: Callable[..., str], run: Callable[..., Running], flag: str) -> None:
    path = build("prog", CODE, flag)
    program = run(path)
    work, quiet = program.addresses
    with UserSymbols() as symbols:
        found = symbols.resolve(program.pid, work + 3)
        assert (found.name, found.offset, found.module) == ("work", 3, path)
        assert symbols.resolve(program.pid, quiet).name == "quiet"
        assert symbols.address_of(program.pid, "work") == work
        assert not symbols.resolve(program.pid, 8)
        assert symbols.address_of(program.pid, "no_such_function") == 0


def test_own_libc() -> None:
    with UserSymbols() as symbols:
        pid = os.getpid()
        address = symbols.address_of(pid, "malloc")
        found = symbols.resolve(pid, address + 1)
        assert (found.name, found.offset) == ("malloc", 1) and "libc" in found.module
        with open_elf(found.module) as elf:
            symbol = elf.find_symbol("malloc")
            assert symbol is not None and symbol.size == found.size
        assert symbols.address_of(found.module, "malloc") == symbol.value
        assert symbols.size_of(found.module, "malloc") == symbol.size


def test_vdso() -> None:
    with ProcessSymbols(os.getpid()) as process:
        vdso = next((m for m in process._snapshots[0] if m.file == "[vdso]"), None)
        if vdso is None:
            pytest.skip("this process has no vdso")
        names = {process.resolve(address).name for address in range(vdso.start, vdso.end, 64)}
    assert any("clock_gettime" in name for name in names)


def test_a_process_that_ended(build: Callable[..., str], run: Callable[..., Running]) -> None:
    program = run(build("prog", CODE))
    work, quiet = program.addresses
    with UserSymbols() as symbols:
        assert symbols.capture(program.pid) is not None
        program.end()
        assert symbols.resolve(program.pid, work).name == "work"
        assert symbols.resolve(program.pid, quiet + 1).name == "quiet"
        assert not symbols.refresh(program.pid)
    with UserSymbols() as late:
        assert not late.resolve(program.pid, work)
        assert late.capture(program.pid) is None
    with pytest.raises(SymbolError, match="no process"):
        ProcessSymbols(program.pid)


def test_a_library_loaded_later(build: Callable[..., str], run: Callable[..., Running]) -> None:
    library = build("libwork.so", LIBRARY, "-shared", "-fPIC")
    program = run(build("prog", CODE), library)
    with UserSymbols() as symbols:
        assert symbols.resolve(program.pid, program.addresses[0]).name == "work"
        (address,) = program.ask("load")
        assert address
        found = symbols.resolve(program.pid, address)
        assert (found.name, found.module) == ("lib_work", library)
        program.end()
        assert symbols.resolve(program.pid, address + 1).name == "lib_work"


def test_a_replaced_file_is_not_believed(build: Callable[..., str], run: Callable[..., Running]) -> None:
    path = build("prog", CODE)
    program = run(path)
    with UserSymbols() as symbols:
        symbols.capture(program.pid)
        os.rename(path, path + ".old")
        build("prog", CODE.replace("work", "play").replace("int play", "int other(void) { return 7; }\nint play"))
        assert symbols.resolve(program.pid, program.addresses[0]).name in ("work", "")


def test_stripped_with_separate_debug_file(build: Callable[..., str], run: Callable[..., Running]) -> None:
    if not shutil.which("objcopy"):
        pytest.skip("objcopy is not installed")
    path = build("prog", CODE, "-g", "-Wl,--build-id")
    debug = path + ".debug"
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    subprocess.run(["objcopy", "--strip-all", path], check=True)
    program = run(path)
    with UserSymbols() as symbols:
        assert not symbols.resolve(program.pid, program.addresses[1])
        assert symbols.resolve(program.pid, program.addresses[1]).module == path
    program.end()
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", path], check=True)
    program = run(path)
    with UserSymbols() as symbols:
        assert symbols.resolve(program.pid, program.addresses[1]).name == "quiet"


def test_mangled_names(build: Callable[..., str], run: Callable[..., Running]) -> None:
    pytest.importorskip("itanium_demangler")
    program = run(build("prog", CODE.replace("quiet", "_ZN4shop4Till3addEi")))
    with UserSymbols() as symbols:
        found = symbols.resolve(program.pid, program.addresses[1])
        assert (found.name, found.mangled) == ("shop::Till::add(int)", "_ZN4shop4Till3addEi")
    with UserSymbols(readable=False) as symbols:
        assert symbols.resolve(program.pid, program.addresses[1]).name == "_ZN4shop4Till3addEi"


def test_rust_program(tmp_path: Path) -> None:
    pytest.importorskip("rust_demangler")
    rustc = shutil.which("rustc")
    if not rustc:
        pytest.skip("rustc is not installed")
    source = tmp_path / "app.rs"
    source.write_text(
        'mod till { #[inline(never)] pub fn add(x: i32) -> i32 { x + 1 } }\nfn main() { print!("{}", till::add(1)); }\n'
    )
    for version in ("legacy", "v0"):
        path = tmp_path / version
        flags = ["-C", f"symbol-mangling-version={version}"] + (["-Zunstable-options"] if version == "legacy" else [])
        done = subprocess.run([rustc, *flags, "-o", path, source], capture_output=True, timeout=120)
        if done.returncode:
            continue  # a stable compiler offers one of the two manglings
        table = SymbolTable(str(path))
        assert "app::till::add" in {demangle(symbol.name) for symbol in table._symbols}


def test_perf_map(tmp_path: Path) -> None:
    path = tmp_path / "perf-1.map"
    perf = PerfMap(str(path))
    assert perf.find(0x1000) is None
    path.write_text("1000 20 LazyCompile:~add /app.js:1\nnonsense\n2000 10 py::main:/a.py\n30")
    assert perf.find(0x1005) == ("LazyCompile:~add /app.js:1", 0x1000, 0x20)
    assert perf.find(0x1020) is None and perf.find(0xFFF) is None
    with path.open("a") as file:
        file.write("00 8 late\n")
    assert perf.find(0x3001) == ("late", 0x3000, 8)
    path.unlink()
    assert perf.find(0x3001) == ("late", 0x3000, 8)


def test_code_of_a_jit(run: Callable[..., Running]) -> None:
    script = (
        "import mmap, os, sys\n"
        "code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "line = [l for l in open('/proc/self/maps') if 'rwx' in l][0]\n"
        "start = int(line.split('-')[0], 16)\n"
        "open(f'/tmp/perf-{os.getpid()}.map', 'w').write(f'{start:x} 100 py::fast:/app.py\\n')\n"
        "print(hex(start), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    program = run(sys.executable, "-S", "-c", script)
    try:
        (start,) = program.addresses
        with UserSymbols() as symbols:
            found = symbols.resolve(program.pid, start + 0x10)
            assert (found.name, found.offset, found.module) == ("py::fast:/app.py", 0x10, "")
            assert not symbols.resolve(program.pid, start + 0x200)
            program.end()
            assert symbols.resolve(program.pid, start + 0x20).offset == 0x20
    finally:
        os.unlink(f"/tmp/perf-{program.pid}.map")


def test_maps_text() -> None:
    text = (
        "00400000-00401000 r--p 00000000 fe:00 12  /bin/a b\n"
        "00401000-00402000 r-xp 00001000 fe:00 12  /bin/a b\n"
        "00500000-00501000 r-xp 00000000 fe:00 13  /lib/gone.so (deleted)\n"
        "7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n"
        "7ffff0000000-7ffff0002000 r-xp 00000000 00:00 0  [vdso]\n"
    )
    rows = [(m.start, m.offset, m.file, m.deleted, m.inode) for m in parse_maps(text)]
    assert rows == [
        (0x401000, 0x1000, "/bin/a b", False, 12),
        (0x500000, 0, "/lib/gone.so", True, 13),
        (0x7F0000000000, 0, "", False, 0),
        (0x7FFFF0000000, 0, "[vdso]", False, 0),
    ]


def test_damaged_files_have_no_symbols(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"\x7fELF", b"\x7fELF" + b"\xff" * 200):
        path.write_bytes(content)
        table = SymbolTable(str(path))
        assert len(table) == 0 and table.problem and table.find(5) is None and table.address(5) is None


def test_least_used_processes_are_forgotten() -> None:
    with UserSymbols(limit=2) as symbols:
        for pid in (os.getpid(), os.getppid()):
            symbols.capture(pid)
        child = subprocess.Popen(["sleep", "20"])
        try:
            time.sleep(0.05)
            symbols.capture(os.getpid())
            symbols.capture(child.pid)
            assert os.getpid() in symbols._processes and child.pid in symbols._processes
            assert len(symbols._processes) == 2
        finally:
            child.kill()
            child.wait()


def test_files_are_closed(build: Callable[..., str], run: Callable[..., Running]) -> None:
    program = run(build("prog", CODE))
    before = set(os.listdir("/proc/self/fd"))
    with UserSymbols() as symbols:
        os.unlink(program.process.args[0])  # type: ignore[index]
        found = symbols.resolve(program.pid, program.addresses[0])
        if os.geteuid() == 0:
            assert found.name == "work"
            program.end()
            assert symbols.resolve(program.pid, program.addresses[1]).name == "quiet"
    symbols.close()
    gone = before - set(os.listdir("/proc/self/fd"))
    assert set(os.listdir("/proc/self/fd")) - before == set() and len(gone) <= 2
