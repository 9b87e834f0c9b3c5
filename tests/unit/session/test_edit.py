"""What reading a value gives can be written again, and gives the same bytes; nothing is cut to fit."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest

from osmia.objects import Field, Misfit, ValueType, encode_prefix, encode_value
from osmia.session._decode import compile_value
from osmia.session._names import Names

ENUM = ValueType("enum", 4, values=((0, "OFF"), (3, "ON")))


def a_type(chance: random.Random, depth: int = 0) -> ValueType:
    kind = chance.choice(["int", "int", "pointer", "enum", "double", "struct", "array"][: 5 if depth > 2 else 7])
    if kind == "int":
        return ValueType("int", chance.choice([1, 2, 4, 8]), chance.random() < 0.5)
    if kind == "pointer":
        return ValueType("pointer", 8)
    if kind == "enum":
        return ENUM
    if kind == "double":
        return ValueType("float", 8, name="double")
    if kind == "array":
        element, count = a_type(chance, depth + 1), chance.randint(1, 4)
        return ValueType("array", element.size * count, element=element, count=count)
    fields, at = [], 0
    for i in range(chance.randint(1, 5)):
        if chance.random() < 0.2:
            word = ValueType("int", 4, chance.random() < 0.5)
            fields += [Field(f"low{i}", at, word, 0, 5), Field(f"high{i}", at, word, 5, 27)]
            at += 4
            continue
        member = a_type(chance, depth + 1)
        fields.append(Field(f"m{i}", at, member))
        at += member.size
    return ValueType("struct", at, fields=tuple(fields), name="s")


@pytest.mark.parametrize("seed", range(60))
def test_written_again_it_is_the_same(seed: int) -> None:
    chance = random.Random(seed)
    t = a_type(chance)
    decode = compile_value(t, Names())
    raw = encode_value(t, decode(bytes(b & 0x7F for b in chance.randbytes(t.size))))  # no NaN among the numbers
    assert encode_value(t, decode(raw)) == raw
    assert encode_value(t, raw) == raw
    value = decode(raw)
    if t.kind == "struct":
        by_name = {f.name: value[i] for i, f in enumerate(t.fields)}
        assert encode_value(t, by_name) == encode_value(t, tuple(value)) == raw
        assert encode_value(t, {}) == bytes(t.size)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_the_ends_of_numbers(size: int, signed: bool) -> None:
    t = ValueType("int", size, signed)
    low, high = (-1 << 8 * size - 1, (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)
    for number in (low, high, 0, 1):
        assert int.from_bytes(encode_value(t, number), "little", signed=signed) == number
    for number in (low - 1, high + 1, 1 << 70, -1 << 70):
        with pytest.raises(Misfit, match=f"{number} is not from {low} to {high}"):
            encode_value(t, number)
    for wrong in (1.0, None, "1", [1], {}):
        with pytest.raises(Misfit):
            encode_value(t, wrong)


def test_addresses() -> None:
    word, six = ValueType("int", 4), ValueType("array", 16, element=ValueType("int", 4), count=4)
    for text in ("10.0.0.1", "255.255.255.255"):
        assert encode_value(word, text) == encode_value(word, ip_address(text)) == ip_address(text).packed
    assert encode_value(six, "fe80::1") == ip_address("fe80::1").packed
    mac = ValueType("array", 6, element=ValueType("int", 1), count=6)
    assert encode_value(mac, "02:00:5e:00:00:fF") == bytes.fromhex("02005e0000ff")
    for t, wrong in (
        (word, "10.0.0"), (word, "::1"), (word, ip_address("::1")), (six, "10.0.0.1"), (mac, "02:00"),
        (mac, "0200:5e000:0"),
        (mac, "02:00:5e:00:00:fg"), (ValueType("int", 4, True), "10.0.0.1"), (ValueType("int", 8), "10.0.0.1"),
        (ValueType("struct", 4, fields=(Field("a", 0, word),), name="pair"), "10.0.0.1"),
    ):  # fmt: skip
        with pytest.raises(Misfit):
            encode_value(t, wrong)
    assert encode_value(ValueType("struct", 4, fields=(Field("s_addr", 0, word),), name="in_addr"), "1.2.3.4") == bytes(
        [1, 2, 3, 4]
    )


def test_prefixes() -> None:
    assert encode_prefix(8, "10.0.0.0/8", "key") == bytes([8, 0, 0, 0, 10, 0, 0, 0])
    assert encode_prefix(8, "10.0.0.1", "key") == bytes([32, 0, 0, 0, 10, 0, 0, 1])
    assert encode_prefix(20, "::/0", "key") == bytes(20)
    for size, wrong in ((8, "10.0.0.0/33"), (8, "/8"), (8, "10.0.0.0/8/8"), (8, "10.0.0.0/٨"), (20, "10.0.0.0/8")):
        with pytest.raises(Misfit):
            encode_prefix(size, wrong, "key")


def test_unions_and_texts() -> None:
    union = ValueType("union", 4, fields=(Field("a", 0, ValueType("int", 4)), Field("b", 0, ValueType("int", 1))))
    assert encode_value(union, {"b": 7}) == bytes([7, 0, 0, 0])
    assert encode_value(union, compile_value(union, Names())(bytes([1, 2, 3, 4]))) == bytes([1, 2, 3, 4])
    for wrong in ({"a": 1, "b": 2}, (1, 2), 5, {"c": 1}):
        with pytest.raises(Misfit):
            encode_value(union, wrong)
    text = ValueType("string", 4)
    assert encode_value(text, "abc") == b"abc\0" and encode_value(text, b"abcd") == b"abcd"
    for wrong in ("abcd", "äöü", 5, b"abc"):
        with pytest.raises(Misfit):
            encode_value(text, wrong)
    assert encode_value(ENUM, "ON") == bytes([3, 0, 0, 0]) == encode_value(ENUM, 3)
    with pytest.raises(Misfit, match="one of OFF, ON"):
        try:
            encode_value(ENUM, "OM")
        except Misfit as error:
            raise Misfit(error.where, error.hint) from None
    with pytest.raises(Misfit):
        encode_value(ValueType("bool", 1), 2)
    with pytest.raises(Misfit, match="cannot be set"):
        encode_value(ValueType("kstack", 8), 1)
