"""Which files user probes mean, and where in them the probes go. Oracles: readelf, nm, ldconfig."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.errors import ElfError, ProbeError
from osmia.probes import Catalogue, attach_multi, describe_args, list_probes, parse_probe
from osmia.probes._cpp import readable_names
from osmia.probes._files import find_library, ld_cache, mapped_files, resolve_files

CODE = """
#include <stdio.h>
int twice(int x) { return x * 2; }
int thrice(int x) { return x * 3; }
int same_as_twice(int x) __attribute__((alias("twice")));
static int quiet(int x) { return x + 1; }
int main(void) { printf("%d\\n", twice(quiet(1)) + thrice(2)); return 0; }
"""
CPP = """
namespace shop { struct Till { int add(int x); int add(double x); int total() const; }; }
int shop::Till::add(int x) { return x; }
int shop::Till::add(double x) { return (int)x; }
int shop::Till::total() const { return 3; }
int main() { shop::Till t; return t.add(1) + t.add(2.0) + t.total(); }
"""


@pytest.fixture(scope="module")
def program(build: Callable[..., str]) -> str:
    return build("prog", CODE)


def nm(path: str, name: str) -> int:
    for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.endswith(f" {name}"):
            return int(line.split()[0], 16)
    raise AssertionError(name)


def file_offset(path: str, address: int) -> int:
    text = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["LOAD"]:
            offset, start, size = int(fields[1], 16), int(fields[2], 16), int(fields[4], 16)
            if start <= address < start + size:
                return address - start + offset
    raise AssertionError(hex(address))


def places(text: str, **settings: bool) -> list[tuple[str, list[int]]]:
    with Catalogue(**settings) as catalogue:
        matches = catalogue.require(parse_probe(text))
        return [(m.name, [p.offset for p in m.attach_points("prog")]) for m in matches]


@pytest.mark.parametrize("flag", ["-pie", "-no-pie"])
def test_offsets_are_file_offsets(build: Callable[..., str], flag: str) -> None:
    path = build(f"prog{flag}", CODE, flag)
    address = nm(path, "thrice")
    assert places(f"u:{path}:thrice") == [(f"uprobe:{path}:thrice", [file_offset(path, address)])]
    assert places(f"u:{path}:thrice+4")[0][1] == [file_offset(path, address) + 4]
    assert places(f"u:{path}:{address:#x}")[0][1] == [file_offset(path, address)]
    assert places(f"ur:{path}:quiet") == [(f"uretprobe:{path}:quiet", [file_offset(path, nm(path, "quiet"))])]


def test_bounds(program: str) -> None:
    with pytest.raises(ProbeError, match=r"Offset outside the function bounds \('thrice' size is \d+\)"):
        places(f"u:{program}:thrice+100000")
    assert places(f"u:{program}:thrice+1000", unsafe=True)
    with pytest.raises(ProbeError, match=r"Could not resolve address: .*:0xa"):
        places(f"u:{program}:10")
    with pytest.raises(ProbeError, match=r"Could not determine boundary for _init \(symbol has size 0\)"):
        places(f"u:{program}:_init")
    assert places(f"u:{program}:_init", unsafe=True) == places(f"u:{program}:_ini?", unsafe=True)
    with pytest.raises(ProbeError, match=r"No matches for uprobe .*:thrise"):
        places(f"u:{program}:thrise")


def test_wildcards_and_aliases(program: str) -> None:
    names = [name.rpartition(":")[2] for name, _ in places(f"u:{program}:*t*ice")]
    assert names == ["same_as_twice", "thrice", "twice"]
    with Catalogue() as catalogue:
        (point,) = attach_multi(catalogue.require(parse_probe(f"u:{program}:*t*ice")), "prog")
    assert len(point.offsets) == 2 == len(point.functions)
    assert point.name == f"uprobe:{program}:*t*ice"
    assert list(list_probes(Catalogue(), f"uprobe:{program}:t*ice")) == [
        f"uprobe:{program}:thrice", f"uprobe:{program}:twice",
    ]  # fmt: skip
    folder = os.path.dirname(program)
    assert [n for n, _ in places(f"u:{folder}/pro?:twice")] == [f"uprobe:{program}:twice"]


def test_stripped_program_has_only_its_dynamic_symbols(build: Callable[..., str]) -> None:
    path = build("stripped", CODE, "-s")
    with pytest.raises(ProbeError, match="No matches"):
        places(f"u:{path}:thrice")


def test_cpp_names(build: Callable[..., str]) -> None:
    pytest.importorskip("itanium_demangler")
    path = build("tillxx", CPP)
    found = [name.rpartition(":")[2] for name, _ in places(f'u:{path}:cpp:"shop::Till::add"')]
    assert found == ["_ZN4shop4Till3addEd", "_ZN4shop4Till3addEi"]
    assert len(places(f'u:{path}:cpp:"shop::Till::*"')) == 3
    assert len(places(f'u:{path}:cpp:"shop::Till::add(int)"')) == 1
    assert len(places(f'u:{path}:cpp:"shop::Till::total"')) == 1
    assert places(f"u:{path}:_ZNK4shop4Till5totalEv") != []


@pytest.mark.parametrize(
    ("mangled", "names"),
    [
        ("_ZN1a1bEi", ("a::b", "a::b(int)")),
        ("_ZNK1a1bEv", ("a::b", "a::b()")),
        ("_ZNK1aclEi", ("a::operator()", "a::operator()(int)")),
        ("_ZNKR1a1bEv", ("a::b", "a::b()")),
        ("main", None),
        ("_Zbogus", None),
    ],
)
def test_readable_names(mangled: str, names: tuple[str, str] | None) -> None:
    pytest.importorskip("itanium_demangler")
    assert readable_names(mangled) == names


def test_resolving_files(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.path.dirname(program)
    assert resolve_files(program) == [program]
    assert resolve_files(folder) == []
    assert resolve_files("/dev/null") == []
    assert program in resolve_files(f"{folder}/*")
    monkeypatch.setenv("PATH", f"/nonexistent:{folder}")
    assert resolve_files("prog") == [program]
    assert resolve_files("no-such-program") == []
    monkeypatch.chdir(folder)
    assert resolve_files("./prog") == ["./prog"]
    with pytest.raises(ProbeError, match="match uprobe: 'nope' is no program in "):
        places("u:nope:f")
    with pytest.raises(ProbeError, match="is no ELF file"):
        places("u:/etc/passwd:f")


def test_libraries_by_name() -> None:
    if not ld_cache():
        pytest.skip("this system has no ld.so.cache")
    libc = find_library("libc")
    assert libc and find_library("libc.so.6") == libc
    assert places("u:libc:malloc")[0][0] == f"uprobe:{libc}:malloc"
    assert find_library("libc.so.99") == "" and find_library("libnope") == ""
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if ldconfig:
        text = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
        expected = {
            tuple(line.replace("=>", " ").split()[i] for i in (0, -1)) for line in text.splitlines() if "x86-64" in line
        }
        if expected:
            assert set(ld_cache()) == expected


@pytest.mark.parametrize("damage", [b"", b"glibc-ld.so.cache1.1", b"glibc-ld.so.cache1.1" + b"\xff" * 100])
def test_damaged_library_cache(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "cache").write_bytes(damage)
    assert ld_cache(str(tmp_path / "cache")) == []


def test_files_of_a_process() -> None:
    files = mapped_files(os.getpid())
    assert any("libc.so" in path or "libc-" in path for path in files)
    assert resolve_files("", os.getpid()) == [os.path.realpath(sys.executable)]
    assert resolve_files("libc", os.getpid())[0] in files
    with pytest.raises(ProbeError, match="no process"):
        mapped_files(2**22 + 1)
    with Catalogue(pid=os.getpid()) as catalogue:
        names = [m.name for m in catalogue.require(parse_probe("u:*:malloc", pid=os.getpid()))]
    assert any("libc" in name for name in names)


def test_library_in_an_archive(build: Callable[..., str], tmp_path: Path) -> None:
    path = build("libin.so", CODE, "-shared", "-fPIC")
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("notes.txt", "x" * 1000)
        file.write(path, "lib/libin.so", zipfile.ZIP_STORED)
        file.write(path, "lib/packed.so", zipfile.ZIP_DEFLATED)
    spec = parse_probe(f'u:"{archive}!/lib/libin.so":thrice')
    with Catalogue() as catalogue:
        (point,) = catalogue.require(spec)[0].attach_points("prog")
    inner = file_offset(path, nm(path, "thrice"))
    assert point.target == str(archive)
    assert archive.read_bytes()[point.offset :][:32] == Path(path).read_bytes()[inner:][:32]
    for member, message in (("lib/packed.so", "compressed"), ("nope", "no member"), ("notes.txt", "not an ELF")):
        with pytest.raises((ProbeError, ElfError), match=message):
            places(f'u:"{archive}!/{member}":thrice')


def test_usdt(compiled: Callable[..., Path]) -> None:
    path = str(compiled("usdt.c"))
    listed = list(list_probes(Catalogue(), f"usdt:{path}:*"))
    assert listed
    _, _, namespace, name = listed[0].split(":")
    with Catalogue() as catalogue:
        (match,) = catalogue.require(parse_probe(f"usdt:{path}:{namespace}:{name}"))
        assert [m.name for m in catalogue.match(parse_probe(f"usdt:{path}:{name}"))] == [match.name]
        with pytest.raises(ProbeError) as caught:
            catalogue.require(parse_probe(f"usdt:{path}:{namespace}:{name}x"))
        assert f"usdt:{path}:{namespace}:{name}" in caught.value.suggestions
        assert len(catalogue.match(parse_probe(f"usdt:{path}:*"))) == len(listed)
        points = match.attach_points("prog")
        assert all(p.function == f"{namespace}:{name}" and p.offset for p in points)
        notes = subprocess.run(["readelf", "-nW", path], capture_output=True, text=True, check=True).stdout
        blocks = [b for b in notes.split("stapsdt")[1:] if f"Name: {name}\n" in b and f"Provider: {namespace}\n" in b]
        pcs = [int(b.split("Location: ")[1].split(",")[0], 16) for b in blocks]
        assert [p.offset for p in points] == [file_offset(path, pc) for pc in pcs]
        arguments = blocks[0].split("Arguments: ")[1].splitlines()[0].split() if "Arguments: " in blocks[0] else []
        assert len(describe_args(catalogue, match)) == len(arguments)


def test_flat_binaries_are_probed_by_offset_where_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "flat.bin"
    path.write_bytes(b"\x90\xc3")
    assert places(f"u:{path}:0x1", unsafe=True) == [(f"uprobe:{path}:1", [1])]
    with pytest.raises(ProbeError, match="is no ELF file"):
        places(f"u:{path}:0x1")


def test_attach_points_know_the_address_in_the_file(build: Callable[..., str]) -> None:
    path = build("prog-addresses", CODE, "-pie")
    with Catalogue() as catalogue:
        (match,) = catalogue.require(parse_probe(f"u:{path}:thrice"))
        (point,) = match.attach_points("prog")
    assert point.address == nm(path, "thrice")
