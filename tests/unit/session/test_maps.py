from __future__ import annotations

import struct

import pytest
from unit.session.fakes import S32, S64, FakeMap, text_type

from osmia.errors import UsageError
from osmia.objects import Field, MapFormat, ValueType
from osmia.session import MapView
from osmia.session._names import Names

q = struct.Struct("<q").pack
U8 = ValueType("int", size=1)


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


def test_numbers_that_do_not_fit_are_no_keys():
    m = view(U8, S64, {b"\x2c": q(1), b"\xff": q(2)})
    assert m[44] == 1 and m[255] == 2
    assert all(key not in m for key in (300, -1, 256, -212))
    m = view(S32, S64, {struct.pack("<i", -1): q(3)})
    assert m[-1] == 3 and (1 << 32) - 1 not in m


def test_texts_are_not_cut_to_find_one():
    m = view(text_type(4), S64, {b"abc\0": q(1), b"wxyz": q(2)})
    assert m["abc"] == 1 and "abcd" not in m and "abcdef" not in m
    assert [m[key] for key in m] == [1, 2]


def test_an_unknown_name_of_an_enumeration_is_the_missing_key():
    m = view(ValueType("enum", 4, values=((1, "ONE"),)), S32, {})
    with pytest.raises(KeyError, match="TWO"):
        m["TWO"]


def test_keyed_and_scalar_maps_refuse_what_is_the_others():
    keyed, scalar = view(S64, S64, {q(1): q(7), q(2): q(8)}), view(None, S64, {bytes(8): q(3)})
    with pytest.raises(UsageError, match=r"value of map @m: it has keys \(it is a mapping"):
        _ = keyed.value
    for read in (dict, list, MapView.items, MapView.keys, MapView.values, lambda m: m.get(1), lambda m: 1 in m):
        with pytest.raises(UsageError, match=r"keys of map @m: it has none"):
            read(scalar)
    assert len(keyed) == 2 and len(scalar) == 1


def test_a_kept_map_holds_what_it_held():
    source = FakeMap({q(1): q(7), q(2): q(8)})
    m = MapView(MapFormat("@m", "AT_m", S64, S64), source, Names())
    m.keep()
    source.data.clear()
    m.drop()
    assert dict(m) == {1: 7, 2: 8} and m[2] == 8 and 3 not in m and repr(m) == "<map @m: {1: 7, 2: 8}>"
    for change in (m.clear, m.zero):
        with pytest.raises(UsageError, match="change map @m: the trace has ended"):
            change()


def test_a_map_that_was_not_kept_says_so():
    m = view(S64, S64, {q(1): q(7)})
    m.drop()
    for read in (dict, len, lambda m: m[1], lambda m: m.snapshot()):
        with pytest.raises(UsageError, match="not kept"):
            read(m)
    assert repr(m) == "<map @m: not kept>"
