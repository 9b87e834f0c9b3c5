"""Parameters of user functions: their text, their places by the calling convention; source lines to addresses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from osmia.errors import OsmiaError, ProbeError, SymbolError
from osmia.probes import Arg, Catalogue, describe_args, list_probes, parse_probe

SOURCE = """
struct pair { long a, b; };
struct big { long words[3]; };
struct reals { double x, y; };
struct empty { };
#define KEEP __attribute__((noinline, used))
KEEP long plain(int a, const char *b, unsigned long c) { return a + *b + c; }
KEEP long seven(int a, int b, int c, int d, int e, int f, short g, long h) { return a + b + c + d + e + f + g + h; }
KEEP long structs(struct pair p, struct big b, struct pair q, struct pair r, int last)
{
    return p.a + b.words[0] + q.b + r.a + last;
}
KEEP double reals(double a, struct reals b, int c, float d, int e) { return a + b.x + c + d + e; }
KEEP __int128 wide(int a, __int128 b, __int128 c, __int128 d) { return a + b + c + d; }
KEEP struct big result(int a) { struct big b = {{a}}; return b; }
KEEP struct pair small_result(int a) { struct pair p = {a, a}; return p; }
KEEP void nothing(void) { }
static inline __attribute__((always_inline)) int twice(int n)
{
    return n * 2;
}
int main(int argc, char **argv)
{
    struct pair p = {argc, 2};
    struct big b = {{argc}};
    struct reals r = {argc, 2};
    nothing();
    return plain(argc, *argv, 3) + seven(1, 2, 3, 4, 5, 6, 7, argc) + structs(p, b, p, p, argc)
        + reals(1, r, 2, 3, argc) + (int)wide(argc, 2, 3, 4) + result(argc).words[0] + small_result(argc).a
        + twice(argc) + twice(3 + argc);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("user-arguments")
    (folder / "args.c").write_text(SOURCE)
    subprocess.run(["gcc", "-g", "-O1", "-w", "-o", "args", "args.c"], cwd=folder, check=True, timeout=60)
    return str(folder / "args")


@pytest.fixture
def catalogue() -> Iterator[Catalogue]:
    with Catalogue() as catalogue:
        yield catalogue


def arguments(catalogue: Catalogue, program: str, function: str, provider: str = "uprobe") -> list[Arg]:
    (match,) = catalogue.match(parse_probe(f"{provider}:{program}:{function}"))
    return describe_args(catalogue, match)


def slots(args: list[Arg]) -> dict[str, int | str]:
    return {a.name: a.problem.split(",")[0] if a.problem else a.offset // 8 for a in args}


def test_listing(catalogue: Catalogue, program: str) -> None:
    assert list(list_probes(catalogue, f"uprobe:{program}:plain", verbose=True)) == [
        f"uprobe:{program}:plain", "    int a", "    const char* b", "    long unsigned int c",
    ]  # fmt: skip
    assert list(list_probes(catalogue, f"uprobe:{program}:nothing", verbose=True)) == [f"uprobe:{program}:nothing"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("plain", {"a": 0, "b": 1, "c": 2}),
        ("seven", {**{name: i for i, name in enumerate("abcdef")}, "g": 6, "h": 7}),
        # b is too large for registers; the others take all of them
        ("structs", {"p": 0, "b": 6, "q": 2, "r": 4, "last": 9}),
        ("wide", {"a": 0, "b": 1, "c": 3, "d": 6}),
        ("result", {"a": 1}),  # rdi has the address of the result
        ("small_result", {"a": 0}),
    ],
)
def test_places_on_x86(catalogue: Catalogue, program: str, function: str, expected: dict[str, int]) -> None:
    args = arguments(catalogue, program, function)
    if catalogue.file(program).elf.machine != 62:
        pytest.skip("the program is not x86-64")
    assert slots(args) == expected


def test_floating_point_registers(catalogue: Catalogue, program: str) -> None:
    found = slots(arguments(catalogue, program, "reals"))
    assert (found["c"], found["e"]) == (0, 1)
    assert all("floating-point register" in str(found[name]) for name in "abd")


def test_result(catalogue: Catalogue, program: str) -> None:
    (found,) = arguments(catalogue, program, "plain", "uretprobe")
    assert (found.text, found.index, found.size, found.signed) == ("long int retval", -1, 8, True)
    for name in ("reals", "result", "small_result", "nothing", "wide"):
        assert arguments(catalogue, program, name, "uretprobe") == []


def test_away_from_the_start(program: str) -> None:
    with Catalogue(unsafe=True) as catalogue, pytest.raises(SymbolError, match="start of a function only"):
        arguments(catalogue, program, "plain+1")


def test_source_lines(catalogue: Catalogue, program: str) -> None:
    line = next(i for i, text in enumerate(SOURCE.splitlines(), 1) if "return n * 2" in text)
    (match,) = catalogue.match(parse_probe(f"uprobe:{program}@args.c:{line}"))
    main = catalogue.file(program).function("main")
    assert main is not None and match.locations
    assert all(main.value <= where.address < main.value + main.size for where in match.locations)
    elf = catalogue.file(program).elf
    assert all(elf.addr_to_offset(where.address) == where.offset for where in match.locations)


@pytest.mark.parametrize(
    ("place", "message", "hint"),
    [
        ("args.c:1", "Unable to map 'args.c:1' to address", "the nearest lines with code are"),
        ("args.c:7:99", "Unable to map 'args.c:7:99' to address", "statements of the line start in column"),
        ("nowhere.c:7", "No compilation unit matches nowhere.c", ""),
    ],
)
def test_no_such_line(catalogue: Catalogue, program: str, place: str, message: str, hint: str) -> None:
    with pytest.raises(ProbeError, match=message) as caught:
        catalogue.match(parse_probe(f"uprobe:{program}@{place}"))
    assert caught.value.hint.startswith(hint)


def test_ambiguous_file(catalogue: Catalogue, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for folder, body in (
        ("one", "int one(void) { return 1; }"),
        ("two", "int one(void); int main() { return one(); }"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.c").write_text(body)
    subprocess.run(["gcc", "-g", "-o", "both", "one/same.c", "two/same.c"], cwd=tmp_path, check=True, timeout=60)
    with pytest.raises(ProbeError, match="Ambiguous source path") as caught:
        catalogue.match(parse_probe(f"uprobe:{tmp_path}/both@same.c:1"))
    assert caught.value.hint == "write more of the path"
    (match,) = catalogue.match(parse_probe(f"uprobe:{tmp_path}/both@two/same.c:1"))
    assert len(match.locations) == 1


def test_debug_file_beside(program: str, tmp_path: Path) -> None:
    if shutil.which("objcopy") is None:
        pytest.skip("objcopy is not installed")
    stripped, folder = tmp_path / "args", tmp_path / "debug"
    folder.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", program, folder / "args.debug"], check=True, timeout=60)
    subprocess.run(["objcopy", "--strip-debug", program, stripped], check=True, timeout=60)
    with Catalogue() as catalogue, pytest.raises(SymbolError, match="no debug information"):
        arguments(catalogue, str(stripped), "plain")
    for given in (str(folder), "debug", "+debug"):
        with Catalogue(debug_dirs=("absent", given)) as catalogue:
            assert [a.name for a in arguments(catalogue, str(stripped), "plain")] == ["a", "b", "c"]
            assert [Path(path).name for path in catalogue.debug_files()] == ["args.debug"]


def test_another_programs_debug_file_is_not_taken(program: str, tmp_path: Path) -> None:
    if shutil.which("objcopy") is None:
        pytest.skip("objcopy is not installed")
    (tmp_path / "args.c").write_text(SOURCE + "int more;")
    subprocess.run(["gcc", "-g", "-w", "-o", "args", "args.c"], cwd=tmp_path, check=True, timeout=60)
    subprocess.run(["objcopy", "--strip-debug", tmp_path / "args"], check=True, timeout=60)
    subprocess.run(["objcopy", "--only-keep-debug", program, tmp_path / "args.debug"], check=True, timeout=60)
    with Catalogue(debug_dirs=(".",)) as catalogue, pytest.raises(OsmiaError, match="no debug information"):
        arguments(catalogue, str(tmp_path / "args"), "plain")
