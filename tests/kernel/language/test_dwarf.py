"""Arguments, types and source lines of user functions from DWARF, read while programs with known values run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from _tracing import command

C_SOURCE = """
#include <stdint.h>
#include <stdbool.h>
#define KEEP __attribute__((noinline, noclone, used))
enum colour { RED = 1, GREEN = 5, BLUE = -2 };
typedef unsigned short port_t;
struct inner { int depth; struct inner *next; };
struct flags { unsigned low : 3; int mid : 7; unsigned long high : 20; };
union word { uint32_t number; uint8_t bytes[4]; };
struct item {
    char name[12]; short values[4]; int grid[2][3]; struct inner *inner; struct inner within; struct flags flags;
    enum colour colour; union word word; struct { int unnamed; }; struct unknown *opaque; int (*call)(int);
};
struct small { int a; int b; };
struct pair { long first; long second; };
struct big { long words[5]; };
struct mixed { long number; double real; };
struct reals { float f; double d; long double l; double two[2]; struct { double inside; } part; };
struct only_here { int secret; };
#define NOW asm volatile("" ::: "memory")
KEEP int numbers(signed char a, port_t b, int c, long d, bool e, enum colour f, int g, unsigned char h)
{
    NOW;
    return a + b + c + d + e + f + g + h;
}
KEEP struct item *pointers(struct item *item, const char *text, void *raw, int *array)
{
    asm volatile("" ::"r"(text), "r"(raw), "r"(array));
    return item;
}
KEEP long by_value(struct small s, struct pair p, struct big b, int after)
{
    NOW;
    return s.a + s.b + p.first + p.second + b.words[0] + after;
}
KEEP long no_room(long a, long b, long c, long d, long e, struct pair on_stack, int last)
{
    NOW;
    return a + b + c + d + e + on_stack.first + on_stack.second + last;
}
KEEP double with_floats(int a, double skipped, int b, struct mixed m, int c)
{
    NOW;
    return a + skipped + b + m.number + m.real + c;
}
KEEP float one_float(float x) { NOW; return x * 2; }
KEEP struct big returns_big(int first, int second) { struct big b = {{first, second}}; NOW; return b; }
KEEP long wide(__int128 x, int y) { NOW; return (long)x + y; }
KEEP int cast_me(void *pointer) { NOW; return ((struct only_here *)pointer)->secret; }
KEEP int with_reals(struct reals *r) { asm volatile("" ::"r"(r) : "memory"); return 1; }
KEEP int negative(void) { NOW; return -7; }
KEEP int lines(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += i;
    NOW;
    return sum;
}
int main(void)
{
    static struct inner last = {3, 0}, first = {2, &last};
    static struct item item = {"an item", {1, -2, 3, -4}, {{1, 2, 3}, {4, 5, 6}}, &first, {9, &last}, {5, -3, 700001},
                               BLUE, {0x01020304}, {77}, 0, lines};
    static int array[3] = {10, 20, 30};
    static char text[] = "a text";
    text[0] = item.name[0]; // written to, so that it is in memory when the probe reads it
    numbers(-1, 65535, -3, 1L << 40, 1, GREEN, 7, 200);
    pointers(&item, text, array, array);
    by_value((struct small){1, 2}, (struct pair){3, 4}, (struct big){{5, 6, 7, 8, 9}}, 10);
    no_room(1, 2, 3, 4, 5, (struct pair){6, 7}, 8);
    with_floats(1, 2.5, 3, (struct mixed){4, 5.5}, 6);
    returns_big(11, 12);
    wide(((__int128)1 << 64) + 5, 6);
    cast_me(&(struct only_here){4242});
    struct reals reals = {0.1f, -2.5, 1e300L, {1, 1e-7}, {3}};
    with_reals(&reals);
    negative();
    return lines(3) - 3;
}
"""
CPP_SOURCE = """
#define KEEP __attribute__((noinline, used))
#define NOW asm volatile("" ::: "memory")
struct Base { int base; int shadowed; };
class Derived : public Base {
public:
    virtual ~Derived() {}
    int own = 3;
    int shadowed = 4;
    static int shared;
    KEEP int method(int by) { NOW; return own * by; }
};
int Derived::shared = 9;
struct Trivial { int a; int b; };
struct Owner { int *p; ~Owner() { p = nullptr; } };
enum class Mode : unsigned char { Off, On = 7 };
namespace space {
KEEP int inside(Derived &d, const int &number, Mode mode) { NOW; return d.base + number + (int)mode; }
}
KEEP int values(Trivial t, Owner o, int after) { NOW; return t.a + t.b + *o.p + after; }
int main()
{
    int n = 5;
    Derived d;
    d.base = 1;
    d.Base::shadowed = 2;
    d.method(6);
    space::inside(d, n, Mode::On);
    values(Trivial{1, 2}, Owner{&n}, 3);
    return 0;
}
"""
COMPILERS = ["gcc -O0", "gcc -O2", "gcc -O2 -gdwarf-4", "clang -O0", "clang -O2"]


def _build(folder: Path, compiler: str, source: str, suffix: str) -> str:
    tool, *flags = compiler.split()
    tool = {"gcc": "g++", "clang": "clang++"}[tool] if suffix == "cpp" else tool
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    (folder / f"program.{suffix}").write_text(source)
    done = subprocess.run(
        [tool, "-g", *flags, "-fno-omit-frame-pointer", "-w", "-o", "program", f"program.{suffix}"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{compiler}: {done.stderr[-300:]}")
    return str(folder / "program")


@pytest.fixture(scope="module", params=COMPILERS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _build(tmp_path_factory.mktemp("dwarf"), request.param, C_SOURCE, "c")


@pytest.fixture(scope="module", params=COMPILERS)
def cpp_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _build(tmp_path_factory.mktemp("dwarf-cpp"), request.param, CPP_SOURCE, "cpp")


def trace(program: str, script: str) -> str:
    """What `script` prints while the program runs; PROGRAM in it is the program's path."""
    done = command("trace", "-q", "-e", script.replace("PROGRAM", program), "-c", program)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(program: str, script: str) -> str:
    done = command("trace", "-q", "-e", script.replace("PROGRAM", program), "-c", program)
    assert done.returncode != 0
    return done.stderr


def test_numbers(program: str) -> None:
    fields = ", ".join(f"args.{name}" for name in "abcdefgh")
    script = f'uprobe:PROGRAM:numbers {{ printf("%d %d %d %ld %d %d %d %d\\n", {fields}); print(args.f); }}'
    assert trace(program, script).split("\n") == [f"-1 65535 -3 {1 << 40} 1 5 7 200", "GREEN"]


def test_whole_record(program: str) -> None:
    script = """uprobe:PROGRAM:numbers { print(args); @ = args; @k[args, 1] = args.b; }
        uprobe:PROGRAM:negative { print(@.c); }"""
    record = "{ .a = -1, .b = 65535, .c = -3, .d = 1099511627776, .e = true, .f = GREEN, .g = 7, .h = 200 }"
    out = trace(program, script).split("\n")
    assert out[:2] == [record, "-3"]
    assert f"@: {record}" in out and f"@k[{record}, 1]: 65535" in out


def test_struct_behind_a_pointer(program: str) -> None:
    script = """uprobe:PROGRAM:pointers {
        printf("%s|%s|%d %d|%d|%d\\n", args.item.name, str(args.text), args.array[1], args.item->values[1],
               args.item.grid[1][2], ((int32*)args.raw)[2]);
        printf("%d %d %d %d\\n", args.item.inner.depth, args.item.inner.next.depth, args.item.within.depth,
               args.item.within.next->depth);
        printf("%d %d %d\\n", args.item.flags.low, args.item.flags.mid, args.item.flags.high);
        printf("%d %x %d %d\\n", args.item.colour, args.item.word.number, args.item.word.bytes[0], args.item.unnamed);
        print(args.item.values); print(args.item.flags); print(args.item.colour);
    }"""
    assert trace(program, script).split("\n") == [
        "an item|a text|20 -2|6|30", "2 3 9 3", "5 -3 700001", "-2 1020304 4 77", "[1,-2,3,-4]",
        "{ .low = 5, .mid = -3, .high = 700001 }", "BLUE",
    ]  # fmt: skip


def test_struct_that_is_only_declared(program: str) -> None:
    text = refused(program, "uprobe:PROGRAM:pointers { print(args.item.opaque.x); }")
    assert "Unknown struct/union: 'struct unknown'" in text and "debug information" in text


def test_structs_by_value(program: str) -> None:
    script = """uprobe:PROGRAM:by_value {
        printf("%d %d %d %d %d %d\\n", args.s.a, args.s.b, args.p.first, args.p.second, args.b.words[4], args.after);
        print(args);
    }
    uprobe:PROGRAM:no_room { printf("%d %d %d\\n", args.e, args.on_stack.second, args.last); }"""
    assert trace(program, script).split("\n") == [
        "1 2 3 4 9 10",
        "{ .s = { .a = 1, .b = 2 }, .p = { .first = 3, .second = 4 }, .b = { .words = [5,6,7,8,9] }, .after = 10 }",
        "5 7 8",
    ]


def test_what_is_in_floating_point_registers(program: str) -> None:
    script = 'uprobe:PROGRAM:with_floats { printf("%d %d %d\\n", args.a, args.b, args.c); print(args); }'
    assert trace(program, script).split("\n") == ["1 3 6", "{ .a = 1, .b = 3, .c = 6 }"]
    text = refused(program, "uprobe:PROGRAM:with_floats { print(args.skipped); }")
    assert "Cannot read function parameter skipped: it is passed in a floating-point register" in text
    text = refused(program, "uprobe:PROGRAM:one_float { print(args.x); }")
    assert "it is passed in a floating-point register" in text and "osmia list" not in text


def test_floating_point_members(program: str) -> None:
    script = """uprobe:PROGRAM:with_reals {
        print(args.r.d); $d = args.r.d; printf("%.2f %s %g\\n", $d, args.r.f, args.r.two[1]); print(*args.r);
        print(*(uint64 *)&$d); print((1, $d)); @[$d, 1] = 1; @kept = args.r.l;
    }"""
    assert trace(program, script).split("\n") == [
        "-2.5", "-2.50 0.1 1e-07",
        "{ .f = 0.1, .d = -2.5, .l = 1e+300, .two = [1.0,1e-07], .part = { .inside = 3.0 } }",
        f"{0xC004 << 48}", "(1, -2.5)", "", "", "@[-2.5, 1]: 1", "@kept: 1e+300",
    ]  # fmt: skip
    text = refused(program, "uprobe:PROGRAM:with_reals { $x = (int64)args.r.d; }")
    assert "args.r.d is a double: BPF has no floating point" in text


def test_result_in_memory_takes_a_register(program: str) -> None:
    script = 'uprobe:PROGRAM:returns_big { printf("%d %d\\n", args.first, args.second); }'
    assert trace(program, script) == "11 12"


def test_128_bit_numbers(program: str) -> None:
    script = "uprobe:PROGRAM:wide { print(args.x); print(args.y); }"
    assert trace(program, script).split("\n") == ["[5,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0]", "6"]


def test_casts_to_types_of_the_program(program: str) -> None:
    script = """uprobe:PROGRAM:cast_me {
        $p = (struct only_here *)arg0; print($p->secret); print(sizeof(struct only_here)); print((enum colour)5);
    }"""
    assert trace(program, script).split("\n") == ["4242", "4", "GREEN"]
    override = "struct only_here { short half; } uprobe:PROGRAM:cast_me { print(((struct only_here *)arg0)->half); }"
    assert trace(program, override) == "4242"


def test_types_of_the_program_that_were_meant(program: str) -> None:
    text = refused(program, "uprobe:PROGRAM:cast_me { print(((struct only_her *)arg0)->secret); }")
    assert "did you mean 'struct only_here'?" in text


def test_arguments_without_debug_information(tmp_path: Path) -> None:
    plain = _build(tmp_path, "gcc -g0", "int work(int n) { return n; } int main(void) { return work(0); }", "c")
    text = refused(plain, "uprobe:PROGRAM:work { print(args.n); }")
    assert "compile with -g, or use arg0, arg1, ..." in text


def test_result(program: str) -> None:
    script = "uretprobe:PROGRAM:negative { print(retval); } uretprobe:PROGRAM:pointers { print(retval.inner.depth); }"
    assert sorted(trace(program, script).split("\n")) == ["-7", "2"]


def test_arguments_of_several_functions(program: str) -> None:
    script = "uprobe:PROGRAM:c*_me, uprobe:PROGRAM:lines { @[func] = count(); } uprobe:PROGRAM:n*s { print(args.c); }"
    assert "-3" in trace(program, script).split("\n")


def test_arguments_away_from_the_start(program: str) -> None:
    script = "uprobe:PROGRAM:numbers+1 { print(args.a); }".replace("PROGRAM", program)
    text = command("trace", "--unsafe", "-q", "-e", script, "-c", program).stderr
    assert "at the start of a function only" in text


def test_source_line(program: str) -> None:
    number = next(i for i, line in enumerate(C_SOURCE.splitlines(), 1) if "return sum;" in line)
    script = f"uprobe:PROGRAM@program.c:{number} {{ @hits = count(); }} uprobe:PROGRAM:lines {{ @enter = nsecs; }}"
    out = trace(program, script)
    assert "@hits: 1" in out
    text = refused(program, "uprobe:PROGRAM@program.c:2 { }")
    assert "Unable to map 'program.c:2' to address" in text and "nearest lines with code" in text
    assert "No compilation unit matches other.c" in refused(program, "uprobe:PROGRAM@other.c:2 { }")


def test_stack_with_lines(program: str) -> None:
    script = "uprobe:PROGRAM:numbers { print(ustack(2)); }"
    frames = [line.strip() for line in trace(program, script).split("\n")]
    first = next(i for i, line in enumerate(C_SOURCE.splitlines(), 1) if "KEEP int numbers" in line)
    second = next(i for i, line in enumerate(C_SOURCE.splitlines(), 1) if "numbers(-1" in line)
    assert frames[0].startswith("numbers+0@") and frames[0].endswith((f"/program.c:{first}", f"/program.c:{first + 1}"))
    assert frames[1].startswith("main+") and frames[1].endswith(f"/program.c:{second}")
    plain = trace(program, "config = { show_debug_info=0 } " + script)
    assert [line.strip().partition("+")[0] for line in plain.split("\n")] == ["numbers", "main"] and "@" not in plain


def test_listing(program: str) -> None:
    out = command("list", "-v", f"uprobe:{program}:pointers").stdout.split("\n")
    assert [line.strip() for line in out[1:] if line] == [
        "struct item* item", "const char* text", "void* raw", "int* array",
    ]  # fmt: skip


def test_classes(cpp_program: str) -> None:
    script = """uprobe:PROGRAM:cpp:"Derived::method" {
        printf("%d %d %d %d\\n", args.this.own, args.this.base, args.this.shadowed, args.by);
    }
    uprobe:PROGRAM:cpp:"space::inside" { printf("%d %d\\n", args.d.own, *args.number); print(args.mode); }"""
    assert trace(cpp_program, script).split("\n") == ["3 1 4 6", "3 5", "On"]


def test_classes_by_value(cpp_program: str) -> None:
    script = """uprobe:PROGRAM:_Z6values7Trivial5Owneri { printf("%d %d %d\\n", args.t.b, *args.o.p, args.after); }"""
    done = command("trace", "-q", "-e", script.replace("PROGRAM", cpp_program), "-c", cpp_program)
    if done.returncode:
        assert "does not say how a class by value is passed" in done.stderr  # DWARF 4
        return
    assert done.stdout.strip() == "2 5 3"


def test_program_without_debug_information(tmp_path: Path) -> None:
    program = _build(tmp_path, "gcc -g0", C_SOURCE, "c")
    assert "no debug information" in refused(program, "uprobe:PROGRAM:numbers { print(args.a); }")
    assert "no debug information" in refused(program, "uprobe:PROGRAM@program.c:20 { }")
    assert trace(program, 'uprobe:PROGRAM:numbers { printf("%d\\n", (int32)arg2); }') == "-3"


def test_no_reader_for_scripts_without_types(program: str) -> None:
    """Scripts that use neither types nor lines do not load the reader of DWARF."""
    import sys

    code = (
        "import sys, osmia\n"
        f"osmia.compile('uprobe:{program}:numbers {{ @ = count(); }}')\n"
        "assert not [m for m in sys.modules if 'dwarf' in m or 'elftools' in m], sys.modules\n"
    )
    from _tracing import SOURCES

    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": SOURCES, "PATH": "/usr/bin:/bin"}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-600:]
