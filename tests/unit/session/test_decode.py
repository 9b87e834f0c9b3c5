from __future__ import annotations

import pickle
import platform
import struct

import pytest
from unit.session.fakes import S32, S64, U64, text_type

from osmia.objects import Field, ValueType
from osmia.session import Array, Enum, Histogram, Pointer, Stack, Stats
from osmia.session._aggregate import compile_map_value
from osmia.session._decode import compile_fields, compile_value
from osmia.session._names import Names

NAMES = Names(max_strlen=4)


def decode(t: ValueType, data: bytes):
    return compile_value(t, NAMES)(data)


@pytest.mark.parametrize(
    ("t", "data", "value"),
    [
        (S64, struct.pack("<q", -5), -5),
        (U64, b"\xff" * 8, 2**64 - 1),
        (ValueType("int", 2, True), b"\xfe\xff", -2),
        (ValueType("bool", 1), b"\x02", True),
        (text_type(8), b"abc\0zzzz", "abc"),
        (text_type(4), b"abcd", "abcd"),
        (text_type(5), b"abcd\0", "abcd"),
        (text_type(5), b"abcde", "abcd.."),
        (text_type(4), b"\xff\xfe\0\0", "\udcff\udcfe"),
        (ValueType("buffer", 12), struct.pack("<I", 3) + b"\0\1\2zzzzz", b"\0\1\2"),
        (ValueType("mac", 6), bytes(range(6)), "00:01:02:03:04:05"),
        (ValueType("inet", 24), struct.pack("<Q4s12x", 2, b"\x7f\0\0\1"), "127.0.0.1"),
        (ValueType("inet", 24), struct.pack("<Q16s", 10, bytes(15) + b"\1"), "::1"),
        (ValueType("inet", 24), struct.pack("<Q16s", 99, bytes(16)), ""),
        (ValueType("strerror", 8), struct.pack("<Q", 2), "No such file or directory"),
        (ValueType("signal_name", 8), struct.pack("<Q", 9), "Killed"),
        (ValueType("signal_name", 8), struct.pack("<Q", 1024), "N/A"),
        (ValueType("username", 8), struct.pack("<Q", 0), "root"),
        (ValueType("array", 12, element=ValueType("int", 4, True), count=3), struct.pack("<3i", 1, -2, 3), (1, -2, 3)),
        (ValueType("array", 8, element=text_type(4), count=2), b"ab\0\0c\0\0\0", ("ab", "c")),
        (ValueType("none"), b"", None),
        (ValueType("probe", 8, values=((0, "begin"),)), bytes(8), "begin"),
        (ValueType("avg", 16, True), struct.pack("<qQ", -7, 2), -3),
        (ValueType("stats", 16, True), struct.pack("<qQ", -7, 2), Stats(2, -3, -7)),
    ],
)  # fmt: skip
def test_kinds(t, data, value):
    assert decode(t, data) == value


@pytest.mark.parametrize("value", [0.0, -2.5, 1e-310, 1.7e308, float("inf"), float("-inf")])
def test_floating_point_numbers(value):
    kinds = {"_Float16": "<e", "float": "<f", "double": "<d"}
    for name, code in kinds.items():
        try:
            data = struct.pack(code, value)
        except OverflowError:
            continue
        assert decode(ValueType("float", len(data), name=name), data) == struct.unpack(code, data)[0]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="80-bit numbers are x86's")
@pytest.mark.parametrize("value", [0.0, -2.5, 1e-310, 3.0, 1.7e308, float("inf"), float("-inf")])
def test_long_double_is_what_libc_says(value):
    import ctypes

    data = bytes(ctypes.c_longdouble(value)).ljust(16, b"\0")
    assert decode(ValueType("float", 16, name="long double"), data) == value


def test_128_bit_floating_point_numbers():
    quad = ValueType("float", 16, name="_Float128")
    assert decode(quad, (0x3FFF << 112 | 1 << 111).to_bytes(16, "little")) == 1.5
    assert decode(quad, (1 << 127 | 0x4000 << 112).to_bytes(16, "little")) == -2.0
    assert decode(quad, (0x7FFE << 112).to_bytes(16, "little")) == float("inf")  # too large for a double
    nan = decode(quad, (0x7FFF << 112 | 1).to_bytes(16, "little"))
    assert nan != nan


def test_32_bit_numbers_print_as_they_were_written():
    single = ValueType("float", 4, name="float")
    for text in ("0.1", "3.4028235e+38", "16777216.0", "1e-45", "-0.0", "nan", "inf"):
        assert str(decode(single, struct.pack("<f", float(text)))) == text
    assert decode(single, struct.pack("<f", 0.1)) == struct.unpack("<f", struct.pack("<f", 0.1))[0]  # yet it is exact


def test_pointers_and_enums_say_what_they_are():
    assert str(decode(ValueType("pointer", 8), struct.pack("<Q", 0xABC))) == "0xabc"
    assert type(decode(ValueType("pointer", 8), bytes(8))) is Pointer
    colour = ValueType("enum", 4, values=((0, "RED"), (1, "BLUE")))
    red = decode(colour, bytes(4))
    assert (red, red.name, str(red)) == (0, "RED", "RED")
    other = decode(colour, struct.pack("<I", 9))
    assert isinstance(other, Enum) and str(other) == "9"


def test_nested_tuples_and_structs_with_gaps():
    inner = ValueType("struct", 16, name="point", fields=(Field("x", 0, S32), Field("count", 8, S64)))
    t = ValueType("tuple", 32, fields=(Field("0", 0, ValueType("int", 1)), Field("1", 8, inner), Field("2", 24, U64)))
    value = decode(t, struct.pack("<B7xi4xqQ", 7, -1, 5, 9))
    assert value == (7, (-1, 5), 9)
    assert (value[1].x, value[1].count) == (-1, 5)
    assert value[1].asdict() == {"x": -1, "count": 5}
    assert hash(value)
    with pytest.raises(AttributeError):
        value[1].nothing  # noqa: B018


def test_unions_and_bit_fields_read_the_same_bytes_twice():
    u = ValueType("union", 4, fields=(Field("i", 0, S32), Field("b", 0, ValueType("int", 1))))
    assert decode(u, struct.pack("<i", -2)) == (-2, 254)
    bits = ValueType(
        "struct", 4,
        fields=(
            Field("a", 0, ValueType("int", 4), 0, 3),
            Field("b", 0, ValueType("int", 4, True), 3, 5),
            Field("c", 2, ValueType("int", 2)),
        ),
    )  # fmt: skip
    assert decode(bits, struct.pack("<I", 0x1234_0000 | 0b11111_101)) == (5, -1, 0x1234)


def test_fields_of_an_event_start_anywhere():
    read = compile_fields((Field("a", 8, S32), Field("b", 16, text_type(8))), NAMES)
    record = bytes(8) + struct.pack("<i4x8s", 3, b"hey")
    assert read(b"\0" * 24 + record, 24) == (3, "hey")
    assert compile_fields((), NAMES)(b"", 0) == ()


def test_stacks():
    frames = struct.pack("<5Q", 10, 20, 30, 0, 0)

    class Symbols:
        def capture(self, pid):
            assert pid == 77

        def kernel_frames(self, stack):
            return [f"k{a}" for a in stack.addresses]

        def user_frames(self, stack):
            return [f"{stack.pid}:{a}" for a in stack.addresses]

        def close(self):
            pass

    names = Names(Symbols(), lambda _map, stack_id: frames if stack_id == 4 else None)
    kernel = compile_value(ValueType("kstack", 8, map="m", count=2), names)(struct.pack("<q", 4))
    assert kernel.addresses == (10, 20)
    assert str(kernel) == "\n        k10\n        k20\n"
    user = compile_value(ValueType("ustack", 16, map="m", mode="perf"), names)(struct.pack("<qII", 4, 77, 0))
    assert str(user) == "\n\t77:10\n\t77:20\n\t77:30\n"
    bad = compile_value(ValueType("kstack", 8, map="m"), names)(struct.pack("<q", -14))
    assert bad.error == 14 and str(bad) == "\n"
    raw = Stack((0xFF,), mode="raw")
    assert str(raw) == "\nff\n"


def test_build_id_stacks_differ_by_file_offset_and_process():
    def entry(status: int, letter: bytes, offset: int) -> bytes:
        return struct.pack("<i20sQ", status, letter * 20, offset)

    stored = {
        1: entry(1, b"a", 16) + entry(2, b"", 0x77) + entry(0, b"", 0),
        2: entry(1, b"b", 16) + entry(2, b"", 0x77) + entry(0, b"", 0),
        3: entry(1, b"a", 32) + entry(0, b"", 0) * 2,
    }
    names = Names(None, lambda _map, stack_id: stored.get(stack_id), keep=True)
    decode = compile_value(ValueType("ustack", 16, map="m", mode="build_id", count=3), names)
    stacks = [decode(struct.pack("<qII", number, pid, 0)) for number in (1, 2, 3) for pid in (7, 8)]
    assert len(set(stacks)) == 6
    assert str(stacks[0]) == f"\n{'61' * 20} 0x10\n77\n" and stacks[0].addresses == (16, 0x77) and len(stacks[0]) == 2
    names.keep([])
    assert [stack.frames[0][:2] for stack in stacks] == ["61", "61", "62", "62", "61", "61"]
    assert pickle.loads(pickle.dumps(stacks)) == stacks and stacks[0] == decode(struct.pack("<qII", 1, 7, 0))
    failed = [decode(struct.pack("<qII", number, 7, 0)) for number in (-7, -14)]
    assert failed[0] != failed[1]  # of other causes


def per_cpu(t: ValueType, *slots: bytes):
    return compile_map_value(t, NAMES)(b"".join(slots))


def test_per_cpu_values_are_reduced():
    q = struct.Struct("<q").pack
    pair = struct.Struct("<qQ").pack
    assert per_cpu(ValueType("count", 8), q(3), q(4)) == 7
    assert per_cpu(ValueType("sum", 8, True), q(3), q(-4)) == -1
    assert per_cpu(ValueType("sum", 8), q(-1), q(2)) == 1  # wraps at 64 bits
    assert per_cpu(ValueType("min", 16, True), pair(0, 0), pair(-3, 1), pair(5, 1)) == -3
    assert per_cpu(ValueType("max", 16, True), pair(0, 0), pair(-3, 1)) == -3
    assert per_cpu(ValueType("max", 16), pair(0, 0)) == 0
    assert per_cpu(ValueType("avg", 16, True), pair(-5, 1), pair(-2, 2)) == -2
    assert per_cpu(ValueType("stats", 16), pair(10, 1), pair(20, 3)) == Stats(4, 7, 30)
    assert per_cpu(ValueType("int", 4, True), q(3), q(4)) == 7
    assert per_cpu(ValueType("int", 4, True), struct.pack("<i", -3)) == -3


def test_histograms():
    counts = [0] * 66
    counts[0], counts[2], counts[3] = 1, 2, 3
    half = struct.pack("<66Q", *counts)
    h = per_cpu(ValueType("hist", 66 * 8, count=66), half, half)
    assert h.buckets == ((None, 0, 2), (0, 1, 0), (1, 2, 4), (2, 4, 6))
    assert h.total == 12
    fine = per_cpu(ValueType("hist", 27 * 8 + 8, bits=2, count=28), struct.pack("<28Q", *([0] * 27), 1))
    assert fine.buckets == ((192, 224, 1),)
    low, high = [1, 0, 0, 0], [0, 0, 0, 1]
    t = ValueType("lhist", 32, count=4, bounds=(0, 20, 10))
    assert per_cpu(t, struct.pack("<4Q", *low), struct.pack("<4Q", *high)).buckets == (
        (None, 0, 1), (0, 10, 0), (10, 20, 0), (20, None, 1),
    )  # fmt: skip
    assert per_cpu(t, bytes(32)) == Histogram(())
    assert isinstance(decode(ValueType("array", 0, element=S32, count=0), b""), Array)


def test_only_strings_of_the_longest_size_are_marked_as_cut():
    whole = compile_value(ValueType("string", 5), Names(max_strlen=5))
    assert whole(b"hello") == "hello"
    assert compile_value(ValueType("string", 5), Names(max_strlen=4))(b"hello") == "hell.."


def test_what_needs_the_symbols_of_processes():
    from osmia.objects import EventFormat, MapFormat, Object
    from osmia.session._names import needs_processes

    stack = ValueType("tuple", 24, fields=(Field("0", 0, U64), Field("1", 8, ValueType("ustack", 16))))
    assert not needs_processes(Object(programs=(), maps=(), map_formats=(MapFormat("@", "AT_", U64, U64),)))
    assert needs_processes(Object(programs=(), maps=(), map_formats=(MapFormat("@", "AT_", stack, U64),)))
    assert needs_processes(
        Object(
            programs=(), maps=(), events=(EventFormat(0, "print", 24, fields=(Field("v", 8, ValueType("usym", 16)),)),)
        )
    )
