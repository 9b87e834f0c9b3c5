"""C made from BTF: the compiler must lay it out as the BTF says."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from unit.btf._samples import everything

from osmia import btf as B
from osmia.btf import Btf, BtfBuilder, load_kernel_btf
from osmia.errors import BtfError

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
needs_kernel = pytest.mark.skipif(not os.access("/sys/kernel/btf/vmlinux", os.R_OK), reason="no kernel BTF")


def compile_with_checks(btf: Btf, header: str) -> int:
    """Let gcc compare sizeof and offsetof of every named struct with BTF; returns the number of comparisons."""
    lines = [header]
    seen = set()
    for t in btf:
        if t.kind not in (B.KIND_STRUCT, B.KIND_UNION) or not t.name or t.name in seen:
            continue
        seen.add(t.name)
        name = f"{t.kind_name.lower()} {t.name}"
        if f"{name} {{" not in header:
            continue
        lines.append(f'_Static_assert(sizeof({name}) == {t.size}, "size of {name}");')
        for m in t.members:
            if m.name and not m.bit_size:
                check = f"__builtin_offsetof({name}, {m.name}) == {m.bit_offset // 8}"
                lines.append(f'_Static_assert({check}, "{name}.{m.name}");')
    command = ["gcc", "-w", "-std=gnu11", "-fsyntax-only", "-x", "c", "-"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return len(lines) - 1


@needs_gcc
@needs_kernel
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the compiler's sizes are those of this machine")
def test_all_of_the_kernel():
    kernel = load_kernel_btf()
    assert compile_with_checks(kernel, B.render_c(kernel)) > 10_000


@needs_gcc
def test_one_of_each_kind():
    b, _ = everything()
    btf = Btf(b.build())
    assert compile_with_checks(btf, B.render_c(btf)) >= 5


@needs_gcc
def test_odd_layouts():
    b = BtfBuilder()
    char, short, i32, i64 = (b.int(n, s) for n, s in (("char", 1), ("short", 2), ("int", 4), ("long", 8)))
    b.struct("packed", 7, [("a", char, 0), ("b", i32, 8), ("c", short, 40)])
    b.struct("aligned", 64, [("a", char, 0), ("b", i64, 256)])
    b.struct("gap", 4096, [("a", char, 0), ("b", i32, 8 * 4092)])
    b.struct("bits", 16, [("a", i32, 0, 3), ("b", i32, 5, 7), ("c", i32, 32, 32), ("d", i64, 64, 33), ("e", char, 104)])
    b.struct("packed_bits", 5, [("a", i32, 0, 20), ("b", i32, 20, 20)])
    b.struct("empty", 0, [])
    b.struct("hole", 12, [])
    inner = b.struct("", 8, [("x", i32, 0), ("y", i32, 32)])
    b.union("u", 32, [("", inner, 0), ("z", i64, 0)])
    b.struct("flexible", 4, [("n", i32, 0), ("data", b.array(char, 0), 32)])
    btf = Btf(b.build())
    assert compile_with_checks(btf, B.render_c(btf)) == 20


@pytest.mark.skipif(not shutil.which("clang"), reason="clang is not installed")
@needs_kernel
def test_clang_makes_the_same_bit_fields_of_it(tmp_path):
    kernel = load_kernel_btf()
    structs: dict[str, int] = {}
    for t in kernel:
        if t.kind == B.KIND_STRUCT and t.name and len(structs) < 100 and any(m.bit_size for m in t.members):
            structs.setdefault(t.name, t.id)
    text = B.render_c(kernel, structs.values()) + "".join(f"struct {n} v_{n};\n" for n in structs)
    (tmp_path / "a.c").write_text(text)
    command = ["clang", "-w", "-g", "-O1", "-target", "bpf", "-c", "a.c", "-o", "a.o"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    from elftools.elf.elffile import ELFFile

    with open(tmp_path / "a.o", "rb") as f:
        again = Btf(ELFFile(f).get_section_by_name(".BTF").data())
    for name, id in structs.items():
        other = again.find(name, B.KIND_STRUCT)
        assert again.size_of(other) == kernel.size_of(id)
        ours, theirs = (
            [(m.name, m.bit_offset, m.bit_size) for m in b.members(i)] for b, i in ((again, other), (kernel, id))
        )
        assert ours == theirs, name


def test_order_and_forward_declarations():
    b = BtfBuilder()
    i32 = b.int("int", 4, signed=True)
    first = b.struct("first", 16)
    second = b.struct("second", 8, [("back", b.ptr(first), 0)])
    b.set_members(first, [("second", b.typedef("second_t", second), 0), ("n", i32, 64)])
    text = B.render_c(Btf(b.build()), [first])
    order = ["struct first;", "struct second {", "struct first {\n\tsecond_t second;\n\tint n;\n};"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.index("typedef struct second second_t;") < places[2]


def test_same_name_twice():
    b = BtfBuilder()
    i32 = b.int("int", 4, signed=True)
    b.struct("twin", 4, [("a", i32, 0)])
    b.struct("twin", 8, [("a", i32, 0), ("b", i32, 32)])
    b.enum("e1", [("SAME", 1)])
    b.enum("e2", [("SAME", 1)])
    text = B.render_c(Btf(b.build()))
    assert "struct twin {" in text and "struct twin___2 {" in text
    assert "SAME = 1" in text and "SAME___2 = 1" in text


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda b, i: b.ptr(b.func_proto(i, [("x", i)])), "int (*)(int x)"),
        (lambda b, i: b.ptr(b.func_proto(0)), "void (*)(void)"),
        (lambda b, i: b.array(b.ptr(b.func_proto(0, [("", i)])), 4), "void (*[4])(int)"),
        (lambda b, i: b.ptr(b.array(i, 4)), "int (*)[4]"),
        (lambda b, i: b.array(b.array(i, 3), 2), "int[2][3]"),
        (lambda b, i: b.const(b.ptr(b.const(i))), "const int * const"),
        (lambda b, i: b.ptr(b.ptr(0)), "void **"),
        (lambda b, i: b.ptr(b.type_tag("rcu", b.fwd("file"))), "struct file *"),
        (lambda b, i: b.func_proto(b.ptr(b.func_proto(i, [])), [("a", i)]), "int (*(int a))(void)"),
        (lambda b, i: b.union("", 4, [("a", i, 0)]), "union {...}"),
    ],
)
def test_declarators(make, text):
    b = BtfBuilder()
    id = make(b, b.int("int", 4, signed=True))
    assert B.describe(Btf(b.build()), id) == text


def test_layout_for_people():
    b = BtfBuilder()
    i32 = b.int("int", 4, signed=True)
    inner = b.union("", 4, [("a", i32, 0), ("b", i32, 0)])
    s = b.struct("s", 8, [("", inner, 0), ("x", i32, 32, 3)])
    btf = Btf(b.build())
    assert B.struct_layout(btf, s).splitlines() == [
        "struct s {    // 8 bytes",
        "       0        4  union {",
        "       0        4      int a",
        "       0        4      int b",
        "                   }",
        "     4:0   3 bits  int x",
        "}",
    ]
    with pytest.raises(BtfError, match="no struct or union"):
        B.struct_layout(btf, i32)
