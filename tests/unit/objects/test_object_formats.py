"""Formats of maps and records, and variables, derived from the BTF that clang writes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.errors import ObjectError
from osmia.objects import Object, derive_formats, read_elf, set_variables, variables
from osmia.session._aggregate import compile_map_value
from osmia.session._decode import compile_value
from osmia.session._format import render
from osmia.session._names import Names

SOURCE = r"""
typedef signed char s8;
enum mode { OFF, ON = 3, BACK = -1 };
struct key { u32 pid; char comm[16]; };
struct inner { u16 x, y; };
struct value {
    u64 n; s8 small; _Bool yes; enum mode mode; void *where;
    u8 low:3, high:5; int negative:4;
    struct inner grid[2][2]; union { u32 a; u8 bytes[4]; }; struct { s32 hidden; };
    char name[4]; double share; float part;
};
struct event { u32 pid; u64 n; };
struct other { u64 a, b, c; };
struct { __uint(type, 1); __uint(max_entries, 8); __type(key, struct key); __type(value, struct value); }
    table SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 2); __type(key, u32); __type(value, u32); } numbers SEC(".maps");
struct { __uint(type, 10); __uint(max_entries, 2); __type(key, u32); __type(value, struct inner); } each SEC(".maps");
struct { __uint(type, 9); __uint(max_entries, 2); __uint(key_size, 4); __uint(value_size, 12); } untyped SEC(".maps");
struct { __uint(type, 3); __uint(max_entries, 2); __uint(key_size, 4); __uint(value_size, 4); } jumps SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); __type(value, struct other); } said SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); } guessed SEC(".maps");
struct { __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
struct event *unused;
const volatile u32 limit = 5;
const volatile s8 level;
const volatile enum mode mode;
const volatile _Bool loud;
const volatile char tag[8] = "none";
const volatile struct inner pair;
int hits = 3;
u64 seen;
SEC("raw_tp/x") int on(void *ctx)
{
    seen += hits + limit + level + mode + loud + tag[0] + pair.x + !unused;
    return 0;
}
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def obj(compile_c: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Object:
    return read_elf(compile_c(SOURCE, tmp_path_factory.mktemp("formats")))


def formats(obj: Object, **options: object) -> dict[str, object]:
    return {f.name: f for f in derive_formats(obj, **options)}  # type: ignore[arg-type]


def test_which_maps_have_formats(obj: Object) -> None:
    """No data sections, no program arrays; maps are named as in C."""
    assert set(formats(obj)) == {"table", "numbers", "each", "untyped", "said", "guessed", "perf"}


def test_an_object_that_says_itself_what_it_prints_is_left_alone(obj: Object) -> None:
    assert derive_formats(obj.replace(settings=(("max_map_keys", 1),))) == ()
    assert derive_formats(obj.replace(ring="events")) == ()


def test_a_struct_with_everything(obj: Object) -> None:
    found = formats(obj)["table"]
    names = Names(None, lambda _map, _id: None)
    key = compile_value(found.key, names)(struct.pack("<I16s", 7, b"sh"))
    assert render(key) == "{ .pid = 7, .comm = sh }"
    head = struct.pack("<Qb?xxiQ", 9, -5, True, 3, 0xFFFF)
    bits = struct.pack("<H", 5 | 17 << 3 | (-3 & 15) << 8)
    grid = struct.pack("<8Hxx", *range(8))
    raw = head + bits + grid + struct.pack("<Ii", 0x04030201, -8) + b"ab\0\0"
    *_, share, part = found.value.fields
    raw = raw.ljust(share.offset, b"\0") + struct.pack("<d", 0.5)
    raw = (raw.ljust(part.offset, b"\0") + struct.pack("<f", 0.1)).ljust(found.value.size, b"\0")
    assert render(compile_value(found.value, names)(raw)) == (
        "{ .n = 9, .small = -5, .yes = true, .mode = ON, .where = 0xffff, .low = 5, .high = 17, "
        ".negative = -3, .grid = [[{ .x = 0, .y = 1 },{ .x = 2, .y = 3 }],[{ .x = 4, .y = 5 },{ .x = 6, .y = 7 }]], "
        ".a = 67305985, .bytes = [1,2,3,4], .hidden = -8, .name = ab, .share = 0.5, .part = 0.1 }"
    )


def test_per_cpu_numbers_add_up_and_structs_stay_apart(obj: Object) -> None:
    names = Names(None, lambda _map, _id: None)
    found = formats(obj, cpus=3)
    numbers = compile_map_value(found["numbers"].value, names)
    assert numbers(struct.pack("<IxxxxIxxxxIxxxx", 5, 6, 7)) == 18
    each = compile_map_value(found["each"].value, names)
    assert render(each(struct.pack("<HHxxxxHHxxxxHHxxxx", 1, 2, 3, 4, 5, 6))) == (
        "[{ .x = 1, .y = 2 },{ .x = 3, .y = 4 },{ .x = 5, .y = 6 }]"
    )


def test_sizes_alone_make_numbers_and_bytes(obj: Object) -> None:
    found = formats(obj)["untyped"]
    assert (found.key.kind, found.key.size) == ("int", 4)
    assert (found.value.kind, found.value.count, found.value.element.size) == ("array", 12, 1)


def test_types_of_records(obj: Object) -> None:
    """By the definition of the ring, by a struct named event, or as told."""
    found = formats(obj)
    assert [found[n].value.name for n in ("said", "guessed", "perf")] == ["other", "event", "event"]
    told = formats(obj, rings={"said": None, "guessed": "key", "perf": "struct other"})
    assert [told[n].value.name for n in ("said", "guessed", "perf")] == ["", "key", "other"]
    assert told["said"].value.kind == "none"


def test_the_kernel_gets_no_types_of_records(obj: Object) -> None:
    sizes = {m.name: (m.key_size, m.value_size, m.value_type) for m in obj.maps}
    assert sizes["said"] == sizes["guessed"] == (0, 0, 0)
    assert sizes["perf"] == (4, 4, 0)


@pytest.mark.parametrize(
    ("rings", "message", "hint"),
    [
        ({"nope": None}, "read records of nope: the object has no such ring buffer", "said, guessed, perf"),
        ({"table": "key"}, "read records of table: the object has no such", "said"),
        ({"said": "nix"}, "read records of said: the object's BTF has no type 'nix'", "other"),
    ],
)
def test_rings_that_are_not_there(obj: Object, rings: dict[str, str | None], message: str, hint: str) -> None:
    with pytest.raises(ObjectError) as caught:
        derive_formats(obj, rings=rings)
    assert caught.value.message.startswith(message) and hint in caught.value.hint


def values(obj: Object) -> dict[str, bytes]:
    contents = {m.name: m.contents or b"" for m in obj.maps}
    return {v.name: contents[v.section][v.offset : v.offset + v.type.size] for v in variables(obj)}


def test_variables_and_their_values(obj: Object) -> None:
    found = values(obj)
    assert found["limit"] == bytes([5, 0, 0, 0]) and found["tag"] == b"none\0\0\0\0"
    assert found["hits"] == bytes([3, 0, 0, 0]) and found["seen"] == bytes(8)


@pytest.mark.parametrize(
    ("name", "value", "raw"),
    [
        ("limit", "0x10", b"\x10\0\0\0"), ("limit", "4294967295", b"\xff" * 4), ("limit", 9, b"\x09\0\0\0"),
        ("level", "-128", b"\x80"), ("mode", "ON", b"\3\0\0\0"), ("mode", "-1", b"\xff" * 4), ("loud", "true", b"\1"),
        ("tag", "seven77", b"seven77\0"), ("tag", "x", b"x" + bytes(7)), ("pair", b"abcd", b"abcd"),
        ("hits", "-7", b"\xf9\xff\xff\xff"), ("seen", "18446744073709551615", b"\xff" * 8),
    ],
)  # fmt: skip
def test_set_a_variable(obj: Object, name: str, value: str | int | bytes, raw: bytes) -> None:
    before, after = values(obj), values(set_variables(obj, {name: value}))
    assert after == {**before, name: raw}
    assert values(obj) == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nope", "1", "the object has no such variable"), ("limit", "-1", "-1 is not from 0 to 4294967295"),
        ("limit", "4294967296", "is not from 0 to"), ("level", "128", "is not from -128 to 127"),
        ("limit", "five", "cannot read 'five'"),
        ("mode", "MAYBE", "cannot read 'MAYBE'"), ("loud", "2", "not from 0 to 1"),
        ("tag", "eight888", "there is room for 7"), ("pair", "1", "'1' is str"), ("pair", b"abc", "3 bytes"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(obj: Object, name: str, value: str | bytes, message: str) -> None:
    with pytest.raises(ObjectError) as caught:
        set_variables(obj, {name: value})
    assert caught.value.message.startswith(f"set {name}: ") and message in caught.value.message


def test_an_object_without_btf(compile_c: Callable[..., bytes], tmp_path: Path) -> None:
    bare = read_elf(compile_c('int hits; SEC("raw_tp/x") int on(void *c) { return hits++; }', tmp_path, flags=()))
    assert variables(bare) == [] and derive_formats(bare) == ()
