"""The codec of the cache and of the `.osmia` section."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.errors import ObjectError
from osmia.objects import LineInfo, MapSpec, Object, Relocation, ValueType, pack, unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=300) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6).map(tuple),
    max_leaves=30,
)


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_plain_values_come_back(value: object) -> None:
    back = unpack(pack(value))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("value", [0, 127, 128, 65535, 65536, (1 << 32) - 1, 1 << 32, -1, -(1 << 63), 1 << 5000])
def test_integers_at_the_edges(value: int) -> None:
    assert unpack(pack(value)) == value


def test_many_strings_and_long_tuples() -> None:
    value = tuple(str(i % 70_000) for i in range(140_000))
    assert unpack(pack(value)) == value


def test_object_comes_back(obj: Object) -> None:
    back = unpack(pack(obj))
    assert back == obj and hash(back) == hash(obj)
    assert pack(back) == pack(obj)


def test_typical_object_unpacks_in_two_milliseconds(obj: Object) -> None:
    big = obj.replace(programs=obj.programs * 8)
    raw = pack(big)
    best = 1.0
    for _ in range(10):
        start = time.perf_counter()
        unpack(raw)
        best = min(best, time.perf_counter() - start)
    assert best < 0.002


def test_wrong_types_in_fields_are_refused() -> None:
    for bad in (
        Relocation(0, 5, "x"),  # type: ignore[arg-type]
        (MapSpec(b"name", 1, 4, 4, 1),),  # type: ignore[arg-type]
        tuple(LineInfo(i, "f", "one", 1) for i in range(9)),  # type: ignore[arg-type]
        ValueType("int", 8, fields=(1, 2)),  # type: ignore[arg-type]
        ValueType("int", 8, bounds=(1, 2)),  # type: ignore[arg-type]
        ValueType("int", 8, values=((1, 2),)),  # type: ignore[arg-type]
        MapSpec("m", 1, 4, 4, 1, inner=ValueType("int")),  # type: ignore[arg-type]
    ):
        with pytest.raises(ObjectError, match="damaged"):
            unpack(pack(bad))


def test_what_cannot_be_packed_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="dict cannot be packed"):
        pack({})


def test_deep_nesting_is_refused_not_followed() -> None:
    with pytest.raises(ObjectError):
        unpack(pack(None)[:-1] + b"\x09\x01" * 100_000 + b"\0")


def test_damaged_bytes(obj: Object) -> None:
    raw = pack(obj)
    rng = random.Random(4)
    for _ in range(3000):
        bad = bytearray(raw)
        for _ in range(rng.choice((1, 1, 3))):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        if rng.random() < 0.2:
            del bad[rng.randrange(len(bad)) :]
        try:
            unpack(bytes(bad))
        except ObjectError:
            continue


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    try:
        unpack(pack(None)[:-1] + data)
    except ObjectError:
        return


def test_order_of_classes_is_the_format() -> None:
    from osmia.objects._pack import CLASSES

    assert [cls.__name__ for cls in CLASSES] == [
        "Object", "ProgramSpec", "Function", "MapSpec", "AttachPoint", "Relocation", "LineInfo", "CoreRelocation",
        "MapFormat", "ValueType", "Field", "EventFormat",
    ]  # fmt: skip
