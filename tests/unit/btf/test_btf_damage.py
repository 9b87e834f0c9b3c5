"""Damaged BTF: BtfError or an answer, never another exception, never a hang."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.btf._samples import everything

from osmia import btf as B
from osmia.btf import Btf, BtfBuilder, ExtInfo, FuncInfo, LineInfo
from osmia.errors import BtfError

GOOD = everything()[0].build()


def use(data: bytes, base: Btf | None = None) -> None:
    """Call everything there is; each call may raise BtfError."""
    try:
        btf = Btf(data, base)
    except BtfError:
        return
    calls = [lambda: list(btf), lambda: list(btf.funcs()), lambda: B.render_c(btf), lambda: btf.enum_value("RED")]
    for name in ("node", "int", "print", "later"):
        calls += [lambda n=name: btf.find(n), lambda n=name: btf.find_all(n), lambda n=name: btf.func_params(n)]
    for id in range(btf.end_id + 1):
        for method in (btf.type, btf.name, btf.resolve, btf.size_of, btf.members, btf.type_tags):
            calls.append(lambda m=method, i=id: m(i))
        calls.append(lambda i=id: btf.field(i, "name"))
        for function in (B.describe, B.struct_layout, lambda b, i: BtfBuilder().add_from(b, i)):
            calls.append(lambda f=function, i=id: f(btf, i))
    for call in calls:
        try:
            call()
        except BtfError as e:
            assert str(e)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes(data):
    raw = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    use(bytes(raw))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_words_make_cycles(data):
    raw = bytearray(GOOD)
    types = struct.unpack_from("<I", raw, 12)[0]
    for _ in range(data.draw(st.integers(1, 6))):
        at = 24 + 4 * data.draw(st.integers(0, types // 4 - 1))
        struct.pack_into("<I", raw, at, data.draw(st.integers(0, 30)))
    use(bytes(raw))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda b: GOOD[:24] + b))
def test_random_bytes(raw):
    use(raw)


def test_every_truncation():
    for length in range(len(GOOD)):
        with pytest.raises(BtfError):
            Btf(GOOD[:length])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: b"\xeb\x9f" + d[2:], "big endian"),
        (lambda d: b"\x00\x00" + d[2:], "bad magic"),
        (lambda d: d[:2] + b"\x02" + d[3:], "unknown version"),
        (lambda d: d[:4] + b"\x10" + d[5:], "header length"),
        (lambda d: d[:-1] + b"x", "string section"),
        (lambda d: d[:31] + b"\x1f" + d[32:], "unknown kind 31 of type 1"),
        (lambda d: d[:24] + b"\xff\xff" + d[26:], "string offset"),
    ],
)
def test_messages(change, message):
    with pytest.raises(BtfError, match=message):
        list(Btf(change(GOOD)))


def test_cycles_are_named():
    b = BtfBuilder()
    b.typedef("a", 2)
    b.typedef("b", 1)
    b.ptr(3)
    b.array(4, 2, 1)
    b.struct("s", 4, [("s", 5, 0)])
    btf = Btf(b.build())
    with pytest.raises(BtfError, match="cycle"):
        btf.resolve(1)
    with pytest.raises(BtfError, match="cycle"):
        B.describe(btf, 3)
    with pytest.raises(BtfError):
        btf.size_of(4)
    with pytest.raises(BtfError, match="contains itself"):
        B.render_c(btf, [5])


def test_types_wound_up_to_explode_are_refused():
    b = BtfBuilder()
    proto = 0
    for _ in range(40):
        proto = b.ptr(b.func_proto(0, [(f"p{i}", proto) for i in range(5)]))
    with pytest.raises(BtfError, match="too large"):
        B.describe(Btf(b.build()), proto)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_ext_damage(data):
    b, _ = everything()
    info = ExtInfo(
        {".text": (FuncInfo(0, 1),)}, {".text": (LineInfo(0, "a.c", "x", 1, 2), LineInfo(8, "a.c", "y", 2, 1))}
    )
    raw = bytearray(B.build_ext(info, b))
    btf = Btf(b.build())
    assert B.parse_ext(bytes(raw), btf) == info
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut])):
        try:
            B.parse_ext(damaged, btf)
        except BtfError as e:
            assert ".BTF.ext" in str(e) or "string" in str(e)
