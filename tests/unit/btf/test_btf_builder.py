"""What the builder writes, the reader (and bpftool) reads back."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from unit.btf._samples import everything

from osmia import btf as B
from osmia.btf import Btf, BtfBuilder, load_kernel_btf
from osmia.errors import BtfError


@pytest.fixture
def built():
    b, ids = everything()
    return Btf(b.build()), ids


def test_every_kind_comes_back(built):
    btf, ids = built
    assert {t.kind for t in btf} == set(range(1, 20))
    described = {name: B.describe(btf, id) for name, id in ids.items()}
    assert described["ptr"] == "struct node *"
    assert described["array"] == "char[5]"
    assert described["restrict"] == "const char * restrict"
    assert described["func"] == "int print(const char *fmt, ...)"
    assert described["var"] == "volatile int counter"
    assert described["fwd"] == "union later"
    assert [(m.name, m.bit_offset, m.bit_size) for m in btf.members(ids["typedef"])] == [
        ("next", 0, 0),
        ("a", 64, 3),
        ("b", 67, 29),
        ("name", 96, 0),
    ]
    assert btf.type_tags(ids["tagged"]) == ("user",)
    assert btf.enum_value("GREEN") == (-1, ids["enum"])
    assert btf.enum_value("HUGE") == (1 << 63, ids["enum64"])
    assert btf.type(ids["decl_tag"]).component == -1
    assert btf.type(ids["datasec"]).size == 4
    assert btf.size_of(ids["var"]) == 4
    assert btf.type(ids["int"]).signed
    assert not btf.type(ids["bool"]).signed


def test_bit_fields_from_before_kind_flag():
    b = BtfBuilder()
    three = b.int("int", 4, signed=True, bits=3)
    s = b.struct("old", 4, [("low", three, 0), ("high", b.typedef("three_t", three), 3)])
    members = Btf(b.build()).members(s)
    assert [(m.bit_offset, m.bit_size) for m in members] == [(0, 3), (3, 3)]
    copy = BtfBuilder()
    copied = copy.add_from(Btf(b.build()), s)
    assert [(m.bit_offset, m.bit_size) for m in Btf(copy.build()).members(copied)] == [(0, 3), (3, 3)]


def test_equal_types_and_strings_are_stored_once():
    b = BtfBuilder()
    assert b.int("int", 4) == b.int("int", 4)
    assert b.ptr(1) == b.ptr(1) != b.ptr(2)
    assert b.func_proto(1, [("x", 1)]) == b.func_proto(1, [("x", 1)])
    assert b.struct("s", 4) != b.struct("s", 4)
    assert b.build().count(b"int\0") == 1


def test_bpftool_reads_it(tmp_path):
    if not shutil.which("bpftool"):
        pytest.skip("bpftool is not installed")
    b, _ = everything()
    (tmp_path / "a.btf").write_bytes(b.build())
    command = ["bpftool", "btf", "dump", "file", str(tmp_path / "a.btf"), "format", "raw"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert "STRUCT 'node' size=24 vlen=4" in out
    assert "bitfield_size=29" in out
    assert "'HUGE' val=9223372036854775808" in out


@pytest.mark.skipif(not os.access("/sys/kernel/btf/vmlinux", os.R_OK), reason="no kernel BTF")
class TestCopy:
    def test_types_keep_their_shape(self):
        kernel = load_kernel_btf()
        b = BtfBuilder()
        copied = {n: b.add_from(kernel, kernel.find(n)) for n in ("task_struct", "sk_buff", "vfs_read", "bpf_attr")}
        again = len(b)
        assert b.add_from(kernel, kernel.find("mm_struct")) and len(b) == again
        btf = Btf(b.build())
        for name, id in copied.items():
            assert B.describe(btf, id) == B.describe(kernel, kernel.find(name))
            if name != "vfs_read":
                ours, theirs = B.struct_layout(btf, id), B.struct_layout(kernel, kernel.find(name))
                assert ours == theirs

    def test_shallow_copy_is_small(self):
        kernel = load_kernel_btf()
        b = BtfBuilder()
        task = b.add_from(kernel, kernel.find("task_struct"), shallow=True)
        btf = Btf(b.build())
        assert len(btf) < 1000
        assert btf.size_of(task) == kernel.size_of(kernel.find("task_struct"))
        _, _, mm = btf.field(task, "mm")
        assert btf.kind(btf.type(mm).type_id) == B.KIND_FWD


def test_split_btf():
    b, ids = everything()
    base = Btf(b.build())
    top = BtfBuilder(base)
    first = top.fwd("first")  # nothing stands before its name in the string section
    extra = top.struct("extra", 8, [("node", top.ptr(ids["struct"]), 0)])
    last = top.typedef("last", extra)
    assert top.add_from(base, ids["struct"]) == ids["struct"]
    module = Btf(top.build(), base)
    assert module.find("extra") == extra >= base.end_id
    assert module.find("node") == ids["struct"]
    assert module.find("node_t", B.KIND_TYPEDEF) == ids["typedef"]
    assert module.enum_value("RED") == (0, ids["enum"])
    assert B.describe(module, module.members(extra)[0].type_id) == "struct node *"
    assert sorted(t.name for t in module) == ["", "extra", "first", "last"]
    assert module.find("first") == first
    assert all(module.find(t.name) == t.id for t in module if t.name)
    assert module.find("last") == last
    assert module.key != base.key


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b: b.string("a\0b"),
        lambda b: b.int("char", 1, signed=True, char=True),
        lambda b: b.enum("e", [("A", 1 << 32)]),
        lambda b: b.set_members(7, []),
        lambda b: b.struct("s", 4, [("a", 1, 0, 3), ("b", 1, 1 << 24)]),
        lambda b: b.func_proto(0, [("a", 1)] * 70000),
        lambda b: (b.ptr(1 << 40), b.build()),
    ],
)
def test_what_cannot_be_written_is_refused(wrong):
    with pytest.raises(BtfError, match="build BTF"):
        wrong(BtfBuilder())
