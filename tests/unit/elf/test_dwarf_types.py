"""Types as DWARF has them: sizes, members, bit fields, and the same entries as pyelftools reads."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from osmia.elf import Dwarf, DwarfType, ElfFile, open_dwarf, open_elf

SOURCE = """
#include <stdbool.h>
struct packed { char a; int b; } __attribute__((packed));
struct bits { unsigned a : 1; int b : 5; unsigned : 0; unsigned c : 9; char d; unsigned long e : 33; };
enum sign { NEGATIVE = -1, POSITIVE = 1 };
enum big { LARGE = 4000000000u };
typedef const volatile int *const pointer_t;
struct all {
    struct bits bits; struct packed packed; enum sign sign; enum big big; bool flag; double real; long double longer;
    __int128 wide; int grid[2][3]; pointer_t pointer; char *restrict text; int (*call)(const char *, ...); void *raw;
    union { int inside; char bytes[4]; }; int tail[];
};
enum many { SMALL = 100, BYTE = 200, WORD = 40000, ALSO_NEGATIVE = -300 };
struct arrays { char a[128]; char b[200]; char c[256]; char d[65536]; char none[0]; char one[1]; enum many many; };
struct arrays arrays;
struct all all;
int main(void) { return all.grid[1][2]; }
"""
CPP_SOURCE = """
struct Base { int base; static int shared; };
struct Other { char other; };
struct Virtual { int never; };
struct Child : Base, Other, virtual Virtual { int own; int &reference; Child(int &r) : reference(r) {} };
int Base::shared;
enum class Mode : short { A = -5, B };
Mode mode;
int n;
Child child(n);
int main() { return child.own; }
"""
COMMANDS = {
    "gcc-5": ["gcc", "-gdwarf-5"],
    "gcc-4": ["gcc", "-gdwarf-4"],
    "gcc-3-strict": ["gcc", "-gdwarf-3", "-gstrict-dwarf"],
    "gcc-2-strict": ["gcc", "-gdwarf-2", "-gstrict-dwarf"],
    "clang-5": ["clang", "-gdwarf-5"],
    "clang-4": ["clang", "-gdwarf-4"],
}


def _build(folder: Path, command: list[str], source: str, suffix: str) -> str:
    tool = {"gcc": "g++", "clang": "clang++"}[command[0]] if suffix == "cpp" else command[0]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    (folder / f"types.{suffix}").write_text(source)
    done = subprocess.run(
        [tool, *command[1:], "-w", "-o", "types", f"types.{suffix}"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()[-200:]}")
    return str(folder / "types")


@pytest.fixture(scope="module", params=COMMANDS)
def c_types(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dwarf]:
    path = _build(tmp_path_factory.mktemp("types"), COMMANDS[request.param], SOURCE, "c")
    with open_elf(path) as elf:
        yield _opened(elf)


@pytest.fixture(scope="module", params=["gcc-5", "gcc-4", "clang-5"])
def cpp_types(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dwarf]:
    path = _build(tmp_path_factory.mktemp("cpp-types"), COMMANDS[request.param], CPP_SOURCE, "cpp")
    with open_elf(path) as elf:
        yield _opened(elf)


def _opened(elf: ElfFile) -> Dwarf:
    found = open_dwarf(elf)
    assert found is not None
    return found


def named(dwarf: Dwarf, name: str, *tags: int) -> DwarfType:
    die = dwarf.find_type(name, tags or (0x13, 0x02))
    assert die is not None
    return DwarfType(die)


def test_bit_fields(c_types: Dwarf) -> None:
    bits = named(c_types, "bits")
    assert [(m.name, m.bit, m.bits) for m in bits.members()] == [
        ("a", 0, 1), ("b", 1, 5), ("c", 32, 9), ("d", 48, 0), ("e", 64, 33),
    ]  # fmt: skip
    assert [(m.name, m.bit) for m in named(c_types, "packed").members()] == [("a", 0), ("b", 8)]


def test_kinds_and_sizes(c_types: Dwarf) -> None:
    members = {m.name: m.type for m in named(c_types, "all").members()}
    assert {name: (t.kind, t.size) for name, t in members.items()} == {
        "bits": ("struct", 16), "packed": ("struct", 5), "sign": ("enum", 4), "big": ("enum", 4), "flag": ("bool", 1),
        "real": ("float", 8), "longer": ("float", 16), "wide": ("int", 16), "grid": ("array", 24),
        "pointer": ("pointer", 8), "text": ("pointer", 8), "call": ("pointer", 8), "raw": ("pointer", 8),
        "": ("union", 4), "tail": ("array", 0),
    }  # fmt: skip
    grid = members["grid"]
    assert (grid.count, grid.element.count, grid.element.size, grid.element.element.size) == (2, 3, 12, 4)
    assert members["sign"].enumerators() == {"NEGATIVE": -1, "POSITIVE": 1}
    assert members["big"].enumerators() == {"LARGE": 4000000000}
    assert members["text"].element.is_char and not members["raw"].element.size
    assert members["call"].element.kind == "function"


def test_numbers_at_the_edge_of_their_forms(c_types: Dwarf) -> None:
    members = {m.name: m.type for m in named(c_types, "arrays").members()}
    assert [t.count for t in members.values()] == [128, 200, 256, 65536, 0, 1, 0]
    assert members["many"].enumerators() == {"SMALL": 100, "BYTE": 200, "WORD": 40000, "ALSO_NEGATIVE": -300}


def test_text(c_types: Dwarf) -> None:
    members = {m.name: m.type.text for m in named(c_types, "all").members()}
    assert members["pointer"] == "pointer_t" and members["grid"] == "int[2][3]" and members["raw"] == "void*"
    assert members["call"] == "int (*)(const char*, ...)" and members["bits"] == "struct bits"
    assert members["tail"] == "int[]" and members[""] == "union <anonymous>"
    assert members["text"] in ("char* restrict", "char*")  # DWARF 2 has no `restrict`


def test_identity_is_by_definition(c_types: Dwarf) -> None:
    once, twice = named(c_types, "bits"), named(c_types, "all").members()[0].type
    assert once.identity == twice.identity != named(c_types, "packed").identity


def test_base_classes(cpp_types: Dwarf) -> None:
    members = {m.name: m for m in named(cpp_types, "Child").members()}
    names = [name for name in members if not name.startswith("_vptr")]
    assert names == ["own", "reference", "base", "other"]  # own ones first; neither static nor virtual ones
    assert members["base"].bit == 64 and members["other"].bit == 96
    assert members["reference"].type.is_reference and members["reference"].type.text == "int&"
    assert named(cpp_types, "Mode", 0x04).enumerators() == {"A": -5, "B": -4}


def test_entries_agree_with_pyelftools(c_types: Dwarf) -> None:
    ELFFile = pytest.importorskip("elftools.elf.elffile", reason="pyelftools is not installed").ELFFile
    with open(c_types.path, "rb") as stream:
        info = ELFFile(stream).get_dwarf_info()
        theirs = [die.offset for unit in info.iter_CUs() for die in unit.iter_DIEs() if not die.is_null()]
    assert [offset for unit in c_types.units for offset, _, _ in unit.walk()] == theirs
