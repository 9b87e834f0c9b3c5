from __future__ import annotations

import struct

import pytest
from unit.session.fakes import S32, S64, FakeMap, text_type

from osmia.objects import Field, MapFormat, ValueType
from osmia.session import MapView
from osmia.session._names import Names

q = struct.Struct("<q").pack


def view(key, value, items):
    return MapView(MapFormat("@m", "AT_m", key, value), FakeMap(items), Names())


def test_keyed_map_is_a_mapping():
    key = ValueType("tuple", 16, fields=(Field("0", 0, S64), Field("1", 8, text_type(8))))
    m = view(key, S64, {q(1) + b"a".ljust(8, b"\0"): q(10), q(2) + b"b".ljust(8, b"\0"): q(5)})
    assert m[1, "a"] == 10
    assert (1, "b") not in m
    assert m.get((9, "z"), 0) == 0
    assert dict(m.items()) == {(1, "a"): 10, (2, "b"): 5}
    assert sorted(m) == sorted(m.keys()) == [(1, "a"), (2, "b")]
    assert sorted(m.values()) == [5, 10] and len(m) == 2
    with pytest.raises(KeyError):
        m["not a tuple"]
    m.zero()
    assert m[1, "a"] == 0
    m.clear()
    assert len(m) == 0


def test_printing_order_top_and_div():
    items = {q(k): q(v) for k, v in ((1, 30), (2, 10), (3, 20), (4, 10))}
    shot = view(S64, S64, items).snapshot()
    assert list(shot.entries()) == [(2, 10), (4, 10), (3, 20), (1, 30)]
    assert list(view(S64, S64, items).snapshot(2, 10).entries()) == [(3, 2), (1, 3)]
    texts = {q(3): b"a\0", q(-1): b"b\0", q(2): b"c\0"}
    assert [k for k, _v in view(S64, text_type(2), texts).snapshot().entries()] == [-1, 2, 3]


def test_scalar_maps():
    m = view(None, ValueType("count", 8), {})
    assert m.scalar and m.value is None
    assert m.empty_value() == 0
    m = view(None, ValueType("count", 8), {bytes(8): q(4)})
    assert m.value == 4
    assert list(m.snapshot().entries()) == [(None, 4)]


def test_scalar_in_an_array_is_unset_until_it_is_written():
    source = FakeMap({bytes(4): bytes(16)})
    source.type = 6
    m = MapView(MapFormat("@m", "AT_m", None, ValueType("count", 8), True), source, Names())
    assert m.value is None and m.snapshot().value is None
    source.data[bytes(4)] = q(3) + q(4)
    assert m.value == 7
    m.zero()
    assert m.value == 0
    m.clear()
    assert m.value is None


def test_keys_that_cannot_be_encoded_are_searched():
    key = ValueType("enum", 4, values=((1, "ONE"),))
    m = view(key, S32, {struct.pack("<I", 1): struct.pack("<i", 5)})
    assert m["ONE"] == m[1] == 5
    key = ValueType("mac", 6)
    assert view(key, S32, {bytes(6): struct.pack("<i", 5)})["00:00:00:00:00:00"] == 5
