"""C definitions: layout as the compiler has it, preprocessor, and what is said of mistakes."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from osmia.errors import SourceError
from osmia.lang.bpftrace.cdefs import Definitions, read
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.parser import parse
from osmia.lang.bpftrace.types import INT8, Type


def definitions(text: str, **options) -> Definitions:
    source = Source("stdin", text)
    return read(parse(source, have_btf=options.get("have_btf", True)).definitions, [source], **options)


def complaint(text: str, **options) -> tuple[str, str]:
    with pytest.raises(SourceError) as e:
        definitions(text, **options)
    first = e.value.diagnostics[0]
    return first.message, first.source_line[first.col - 1 : first.end_col - 1]


STRUCTS = """
struct plain { char a; short b; char c; int d; char e; long f; char g; };
struct packed_one { char a; int b; short c; long d; } __attribute__((packed));
struct aligned_one { char a; int b; } __attribute__((aligned(16)));
struct arrays { char a[3]; short b[2][3]; int *c[4]; long d[1]; char e[0]; };
union both { char a[5]; int b; short c; };
struct nest { char a; struct { int x; char y; } in; union both u; struct plain p; char z; };
struct anon { int a; union { long x; struct { short y; short z; }; }; char b; };
struct pointers { void *a; char b; int (*call)(int, char *); struct pointers *next; const volatile char *const c; };
struct bits1 { short a:4, b:8, c:3, d:1; int e:9, f:15, g:1, h:2, i:5; };
struct bits2 { unsigned char a:3; unsigned int b:20; unsigned char c:7; unsigned long long d:40; int e; };
struct bits3 { int a:5; int :0; int b:7; char c; int d:3; unsigned :4; int e:20; };
struct bits4 { char a; int b:17; int c:16; char d; } __attribute__((packed));
struct bits5 { _Bool a:1; _Bool b:1; unsigned long c:63; unsigned char d:8; };
struct field_attributes { char a; int b __attribute__((packed)); char c; int d __attribute__((aligned(8))); };
struct flexible { int n; char data[]; };
struct floats { char a; float b; char c; double d; char e; long double f; float g[2]; };
struct sizes { long long a; unsigned long int b; signed char c; unsigned d; short int e; long unsigned f; };
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, the judge of layouts")
def test_layout_is_the_compilers(tmp_path):
    _compare(STRUCTS, tmp_path)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, the judge of layouts")
def test_layout_of_random_structs(tmp_path):
    rng = random.Random(11)
    kinds = {"char": 8, "short": 16, "int": 32, "long": 64, "unsigned char": 8, "unsigned int": 32, "unsigned long": 64}
    out = []
    for number in range(60):
        members = []
        for m in range(rng.randrange(1, 9)):
            kind = rng.choice(list(kinds))
            width = f":{rng.randrange(1, kinds[kind] + 1)}" if rng.random() < 0.5 else rng.choice(("", "[3]"))
            members.append(f"{kind} m{m}{width};")
        tail = rng.choice(("", "", "__attribute__((packed))"))
        out.append(f"{rng.choice(('struct', 'struct', 'union'))} r{number} {{ {' '.join(members)} }} {tail};")
    _compare("\n".join(out), tmp_path)


def _compare(text: str, tmp_path) -> None:
    """Write all ones into each member of zeroed memory with gcc; the bits that are set must be those we say."""
    found = definitions(text)
    lines, expected = [], []
    for key, s in found.structs.items():
        if "(anonymous" in key or "::" in key:
            continue
        lines.append(f'printf("{key} %zu\\n", sizeof({key}));')
        expected.append(f"{key} {s.size}")
        for f in s.fields:
            if not f.name or not f.type.size:
                continue
            lines.append(f"{{ {key} v; memset(&v, 0, sizeof v); ")
            if f.bits:
                lines.append(f"v.{f.name} = ~0; show(&v, sizeof v); }}")
                first, count = f.offset * 8 + f.bit_offset, f.bits
            else:
                lines.append(f"memset((void *)&v.{f.name}, 255, sizeof v.{f.name}); show(&v, sizeof v); }}")
                first, count = f.offset * 8, f.type.size * 8
            bits = ((1 << count) - 1) << first
            expected.append(bits.to_bytes(s.size, "little").hex())
    program = (
        "#include <stdio.h>\n#include <string.h>\n" + text + "\nstatic void show(void *p, size_t n) "
        '{ for (size_t i = 0; i < n; i++) printf("%02x", ((unsigned char *)p)[i]); puts(""); }\n'
        "int main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n"
    )
    (tmp_path / "t.c").write_text(program)
    subprocess.run(["gcc", "-w", "-o", tmp_path / "t", tmp_path / "t.c"], check=True, timeout=60)
    printed = subprocess.run([tmp_path / "t"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert printed.splitlines() == expected


def test_types_of_fields():
    text = """typedef unsigned int u32_t; typedef struct { int v; } named_t; typedef char text_t[8];
struct s { u32_t a; char b[16]; char c; const char *d; text_t e;
  int8_t f[4]; bool g; enum color h; named_t i; __be16 j; }
enum color { RED };"""
    fields = {
        f.name: f.type
        for f in definitions("enum color { RED };" + text.rsplit("enum", 1)[0]).structs["struct s"].fields
    }
    assert {n: str(t) for n, t in fields.items()} == {
        "a": "uint32",
        "b": "string[16]",
        "c": "int8",
        "d": "int8 *",
        "e": "string[8]",
        "f": "int8[4]",
        "g": "bool",
        "h": "enum color",
        "i": "struct named_t",
        "j": "uint16",
    }
    assert fields["c"] == INT8


def test_a_struct_that_points_to_itself_knows_its_size():
    found = definitions("struct list { struct list *next; struct later *l; int v; }; struct later { long a; };")
    next_, later, _ = found.structs["struct list"].fields
    assert next_.type.element is not None and next_.type.element.size == 24
    assert later.type.element is not None and later.type.element.size == 8


def test_enums():
    found = definitions(
        "enum { A, B = 1 << 4, C, D = -1 }; enum big { E = 0xffffffff, F = 1ULL << 40 }; enum e { G = B | 1 };"
    )
    assert {n: v for n, (v, _) in found.enumerators.items()} == {
        "A": 0,
        "B": 16,
        "C": 17,
        "D": -1,
        "E": 0xFFFFFFFF,
        "F": 1 << 40,
        "G": 17,
    }
    assert (found.enums["big"].size, found.enums["big"].signed) == (8, False)
    assert found.enumerators["G"][1] == Type("enum", 4, False, "e", store="c")


def test_types_from_outside():
    known = {"struct sock": Type("struct", 760, name="sock", store="btf", type_id=9), "pid_x": Type("int", 4, True)}
    found = definitions("struct s { struct sock k; struct sock *p; pid_x x; };", resolve=known.get)
    assert [(f.offset, f.type.size) for f in found.structs["struct s"].fields] == [(0, 760), (760, 8), (768, 4)]


def test_pointers_to_functions():
    assert definitions("typedef int (*fn_t)(void); struct s { fn_t f, *g; };").structs["struct s"].size == 16


def test_headers(tmp_path):
    (tmp_path / "a.h").write_text(
        '#pragma once\n#include "b.h"\nstatic inline int f(struct b *x) { if (x) { return 1; } return 0; }\n'
        "extern int counter;\nint g(void);\nstruct a { struct b in[N]; };\n"
    )
    (tmp_path / "b.h").write_text("#ifndef B\n#define B\n#define N 3\nstruct b { int x; };\n#endif\n")
    found = definitions('#include "a.h"\n#include <b.h>\nstruct c { struct a x; };', include_dirs=[str(tmp_path)])
    assert found.structs["struct c"].size == 12
    assert found.macros["N"] == "3"
    found = definitions('#include "a.h"\n', file_dirs=[str(tmp_path)])
    assert "struct a" in found.structs


def test_kernel_headers_need_btf():
    assert definitions("#include <linux/sched.h>\n#include <stdint.h>\n").structs == {}
    message, _ = complaint("#include <linux/sched.h>\n", have_btf=False)
    assert message == "cannot include 'linux/sched.h': kernel headers are not read"


def test_conditions():
    text = """#ifdef BPFTRACE_HAVE_BTF
#define A 1
#else
#define A 2
#endif
#if defined(A) && A == 1 && !defined B
struct yes { int x; };
# if A > 1
struct no1 { int x; };
# elif A << 2 == 4
struct elif_yes { int x; };
# else
struct no2 { int x; };
# endif
#endif
#undef A
#ifndef A
struct also { int x; };
#endif
"""
    assert list(definitions(text).structs) == ["struct yes", "struct elif_yes", "struct also"]
    assert list(definitions(text, have_btf=False).structs) == ["struct also"]


def test_conditions_inside_of_a_struct(tmp_path):
    (tmp_path / "c.h").write_text("struct c {\n#ifdef X\n int a;\n#else\n char a;\n#endif\n int b;\n};\n")
    found = definitions('#define X\n#include "c.h"\n', include_dirs=[str(tmp_path)])
    assert found.structs["struct c"].size == 8


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("struct a { foo_t x; };", "unknown type name 'foo_t'", "foo_t"),
        ("struct a { struct b x; };", "field 'x' has the incomplete type 'struct b'", "x"),
        ("struct a { int x; };\nstruct a { int y; };", "redefinition of 'struct a'", "struct a "),
        ("struct a { char x:9; };", "bit field of 9 bits in int8", "x:9"),
        ("struct a { int x[B]; };", "not a constant: 'B' is not a constant", "B"),
        ("struct a { int x[1/0]; };", "not a constant: division by zero", "1/0"),
        ("struct a { int x[-1]; };", "array of -1 elements", "-1"),
        ("#if A\n", "unterminated #if", ""),
        ("#endif\n", "#endif without #if", "#endif"),
        ("#if 1 +\n#endif\n", "cannot evaluate the condition: expected expression", "#if 1 +"),
        ("#include <lol/no.h>\n", "'lol/no.h' file not found", "<lol/no.h>"),
        ('#include "own.h"\n', "'own.h' file not found", '"own.h"'),
        ("#error no\n", "#error no", "#error no"),
        ("#foo\n", "unknown preprocessor directive '#foo'", "#foo"),
        ("struct a { int x[4294967295][4294967295]; };", "struct too large", "]"),
    ],
)
def test_mistakes(text, message, marked):
    found = complaint(text)
    assert found[0].removeprefix("syntax: ").startswith(message)
    assert found[1].rstrip("; ") == marked.rstrip("; ")


def test_all_mistakes_are_reported():
    with pytest.raises(SourceError) as e:
        definitions("struct a { foo_t x; };\nstruct b { int y; };\nstruct c { bar_t z; };\n#endif\n")
    assert sorted(d.line for d in e.value.diagnostics) == [1, 3, 4]


def test_a_header_that_includes_itself_ends(tmp_path):
    (tmp_path / "x.h").write_text('#include "x.h"\n')
    message, _ = complaint('#include "x.h"\n', include_dirs=[str(tmp_path)])
    assert message.startswith("#include nested too deeply")


def test_macros_that_double_end():
    text = "#define A0 1\n" + "".join(f"#define A{i + 1} A{i} + A{i}\n" for i in range(60)) + "begin { $x = A60; }"
    with pytest.raises(SourceError):
        parse(Source("stdin", text))
