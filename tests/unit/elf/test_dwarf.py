"""Functions, types, lines and inlined calls of programs that gcc and clang built, in every layout of DWARF."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from osmia.elf import Dwarf, ElfFile, open_dwarf, open_elf
from osmia.errors import ElfError, OsmiaError

STRUCT, UNION, CLASS, PARAMETER = 0x13, 0x17, 0x02, 0x05
SOURCE = """
struct inner { int depth; };
struct item { int count; struct inner *inner; char name[12]; };
union both { int i; float f; };
typedef struct { long only; } anonymous_t;
struct declared;
int table[8];
static inline __attribute__((always_inline)) int deepest(int n)
{
    return table[n & 7] + 1;
}
static inline __attribute__((always_inline)) int middle(int n)
{
    return deepest(n) * 2;
}
__attribute__((noinline)) int outer(int n, struct item *item, union both *both)
{
    return middle(n) + item->count + both->i;
}
__attribute__((noinline)) static long quiet(struct declared *d, anonymous_t *a)
{
    return d != 0 ? a->only : 3;
}
int main(int argc, char **argv)
{
    struct item item = {argc, 0, "x"};
    union both both = {argc};
    anonymous_t a = {2};
    return outer(argc, &item, &both) + (int)quiet((struct declared *)argv, &a);
}
"""
LAYOUTS = {
    "gcc-5": ["gcc", "-gdwarf-5", "-O1"],
    "gcc-4": ["gcc", "-gdwarf-4", "-O1"],
    "gcc-3": ["gcc", "-gdwarf-3", "-O1"],
    "gcc-split-5": ["gcc", "-gdwarf-5", "-O1", "-gsplit-dwarf"],
    "gcc-split-4": ["gcc", "-gdwarf-4", "-O1", "-gsplit-dwarf"],
    "gcc-type-units-4": ["gcc", "-gdwarf-4", "-O1", "-fdebug-types-section"],
    "gcc-type-units-5": ["gcc", "-gdwarf-5", "-O1", "-fdebug-types-section"],
    "gcc-sections": ["gcc", "-gdwarf-5", "-O1", "-ffunction-sections", "-Wl,--gc-sections"],
    "gcc-compressed": ["gcc", "-gdwarf-5", "-O1", "-gz"],
    "gcc-64": ["gcc", "-gdwarf-5", "-gdwarf64", "-O1"],
    "clang-5": ["clang", "-gdwarf-5", "-O1"],
    "clang-4": ["clang", "-gdwarf-4", "-O1"],
    "clang-split-5": ["clang", "-gdwarf-5", "-O1", "-gsplit-dwarf"],
}


def build(folder: Path, command: list[str], source: str = SOURCE, name: str = "prog.c") -> str:
    """Compile, or skip where the compiler is not there or does not know the option."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(source)
    done = subprocess.run(
        [*command, "-w", "-o", "prog", name], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return str(folder / "prog")


@pytest.fixture(params=LAYOUTS)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return build(tmp_path, LAYOUTS[request.param])


def opened(elf: ElfFile) -> Dwarf:
    found = open_dwarf(elf)
    assert found is not None
    return found


def address(elf: ElfFile, name: str) -> int:
    symbol = elf.find_symbol(name)
    assert symbol is not None
    return symbol.value


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(SOURCE.splitlines(), 1) if text in line)


def test_function_by_address(program: str) -> None:
    with open_elf(program) as elf, opened(elf) as dwarf:
        for name, params in (("outer", ["n", "item", "both"]), ("quiet", ["d", "a"]), ("main", ["argc", "argv"])):
            die = dwarf.function_at(address(elf, name))
            assert die is not None and die.origin().name == name
            assert [c.origin().name for c in die.children() if c.tag == PARAMETER] == params
        assert dwarf.function_at(address(elf, "outer") + 1) is None
        assert dwarf.function_at(1 << 40) is None


def test_type_by_name(program: str) -> None:
    with open_elf(program) as elf, opened(elf) as dwarf:
        die = dwarf.find_type("item", (STRUCT, CLASS))
        assert die is not None and die.number(0x0B) == 32
        members = {child.name: child for child in die.children()}
        assert list(members) == ["count", "inner", "name"]
        pointed = members["inner"].type
        assert pointed is not None and pointed.type is not None and pointed.type.name == "inner"
        both = dwarf.find_type("both", (UNION,))
        assert both is not None and [child.name for child in both.children()] == ["i", "f"]
        assert dwarf.find_type("both", (STRUCT,)) is None
        assert dwarf.find_type("declared", (STRUCT,)) is None  # only declared
        assert dwarf.find_type("em", (STRUCT,)) is None


def test_inlined_calls(program: str) -> None:
    with open_elf(program) as elf, opened(elf) as dwarf:
        start = elf.find_symbol("outer")
        assert start is not None
        stacks = {tuple(f.name for f in dwarf.frames(start.value + i)) for i in range(start.size)}
        assert ("deepest", "middle", "outer") in stacks and ("outer",) in stacks
        at = next(i for i in range(start.size) if len(dwarf.frames(start.value + i)) == 3)
        frames = dwarf.frames(start.value + at)
        assert [f.inlined for f in frames] == [True, True, False]
        lines = [line_of("table[n & 7]"), line_of("deepest(n) * 2"), line_of("middle(n) +")]
        assert [f.line for f in frames] == lines
        assert {f.file.rpartition("/")[2] for f in frames} == {"prog.c"}


def test_lines_agree_with_addr2line(program: str) -> None:
    if shutil.which("addr2line") is None:
        pytest.skip("addr2line is not installed")
    if "split" in program:
        pytest.skip("addr2line of binutils does not follow split files")
    with open_elf(program) as elf, opened(elf) as dwarf:
        symbol = elf.find_symbol("main")
        assert symbol is not None
        addresses = range(symbol.value, symbol.value + symbol.size, 3)
        ours = [dwarf.frames(a)[0] for a in addresses]
    text = subprocess.run(
        ["addr2line", "-e", program, *map(hex, addresses)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    theirs = [line.split(" ")[0].rpartition("/")[2] for line in text.splitlines()]
    if any("?" in line for line in theirs):
        pytest.skip("this addr2line does not read these line tables")
    assert [f"{f.file.rpartition('/')[2]}:{f.line}" for f in ours] == theirs


def test_source_files(program: str) -> None:
    with open_elf(program) as elf, opened(elf) as dwarf:
        (((unit, files),),) = dwarf.source_files("prog.c").values()
        line = line_of("middle(n) +")
        found = [a for a, its, _ in dwarf.statements(unit, files) if its == line]
        start = elf.find_symbol("outer")
        assert start is not None and found
        assert all(start.value <= a < start.value + start.size for a in found)
        assert dwarf.source_files("rog.c") == {} and dwarf.source_files("elsewhere/prog.c") == {}
        (path,) = dwarf.source_files("prog.c")
        assert path.endswith("/prog.c") and list(dwarf.source_files(path)) == [path]


def test_split_file_is_missing(tmp_path: Path) -> None:
    program = build(tmp_path, LAYOUTS["gcc-split-5"])
    for dwo in tmp_path.glob("*.dwo"):
        dwo.unlink()
    with open_elf(program) as elf, opened(elf) as dwarf:
        with pytest.raises(ElfError, match=r"is split, and 'prog.*\.dwo' is not found") as caught:
            dwarf.function_at(address(elf, "main"))
        assert "packed" in caught.value.hint
        (frame,) = dwarf.frames(address(elf, "main"))
        assert frame.line in (line_of("int main"), line_of("int main") + 1)  # lines are in the program itself


@pytest.mark.parametrize("layout", ["clang-split-5", "gcc-split-4"])
def test_split_file_in_a_package(layout: str, tmp_path: Path) -> None:
    packer = shutil.which("llvm-dwp") or shutil.which("llvm-dwp-14")
    if packer is None:
        pytest.skip("no llvm-dwp is installed")
    program = build(tmp_path, LAYOUTS[layout])
    pack = [packer, "-e", program, "-o", program + ".dwp"]
    subprocess.run(pack, check=True, timeout=60, capture_output=True, cwd=tmp_path)
    for dwo in tmp_path.glob("*.dwo"):
        dwo.unlink()
    with open_elf(program) as elf, opened(elf) as dwarf:
        die = dwarf.function_at(address(elf, "outer"))
        assert die is not None and die.origin().name == "outer"
        assert dwarf.find_type("item", (STRUCT,)) is not None
        assert any(len(dwarf.frames(address(elf, "outer") + i)) == 3 for i in range(40))


def test_no_debug_information(tmp_path: Path) -> None:
    program = build(tmp_path, ["gcc"])
    with open_elf(program) as elf:
        assert open_dwarf(elf) is None


def test_damage_ends_in_our_errors(program: str, tmp_path: Path) -> None:
    data = Path(program).read_bytes()
    with open_elf(program) as elf:
        main = address(elf, "main")
        spots = [p for s in elf.sections if s.name.startswith(".debug_") for p in range(s.offset, s.offset + s.size)]
    rng = random.Random(7)
    for _ in range(40):
        bad = bytearray(data)
        for _ in range(5):
            bad[rng.choice(spots)] = rng.randrange(256)
        with ElfFile(bytes(bad), program) as elf, opened(elf) as dwarf:
            for look in (
                lambda d=dwarf: [list(c.values) for c in d.function_at(main).children()],
                lambda d=dwarf: d.find_type("item", (STRUCT,)),
                lambda d=dwarf: d.frames(main + 5),
                lambda d=dwarf: [list(d.statements(u, f)) for p in d.source_files("prog.c").values() for u, f in p],
            ):
                try:
                    look()
                except (OsmiaError, AttributeError) as error:
                    assert isinstance(error, OsmiaError) or "NoneType" in str(error)
