"""CO-RE relocation of what clang emits, against types that a test can lay out as it likes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from osmia.btf import KIND_ENUM, KIND_STRUCT, Btf, BtfBuilder
from osmia.errors import ObjectError
from osmia.objects import CoreRelocation, LinkedProgram, apply_core, link, read_elf

Compile = Callable[..., bytes]
POISON = 0xBAD2310

SOURCE = r"""
#define access_index __attribute__((preserve_access_index))
#define exists(x) __builtin_preserve_field_info(x, 2)
struct inner { int z; u64 w; } access_index;
enum state { RUNNING = 1, STOPPED = 2, GONE = 3 };
enum big___v2 { HUGE = 5 };
struct task_struct___mine {
    int pid;
    u32 flags;
    struct { int anonymous; };
    struct inner in;
    u64 table[4];
    u32 odd : 3;
    u32 wide : 20;
    int missing;
    void *next;
    s32 delta;
} access_index;
struct absent { int x; } access_index;
struct sock___mine { u32 hash; unsigned short family; unsigned char state, reuse : 4, port : 1; } access_index;
typedef struct inner inner_t;
u64 out[16];
#define T struct task_struct___mine *t = (void *)ctx[0]
SEC("raw_tp/pid") int pid(u64 *ctx) { T; return t->pid; }
SEC("raw_tp/flags") int flags(u64 *ctx) { T; return t->flags; }
SEC("raw_tp/anonymous") int anonymous(u64 *ctx) { T; return t->anonymous; }
SEC("raw_tp/deep") int deep(u64 *ctx) { T; return t->in.w; }
SEC("raw_tp/table") int table(u64 *ctx) { T; return t->table[3]; }
SEC("raw_tp/missing") int missing(u64 *ctx) { T; return exists(t->missing) ? t->missing : 7; }
SEC("raw_tp/delta") int delta(u64 *ctx) { T; return t->delta; }
SEC("raw_tp/address") int address(u64 *ctx) { T; return (long)&t->in; }
SEC("raw_tp/facts") int facts(u64 *ctx)
{
    T;
    volatile u64 *o = out;
    o[0] = __builtin_preserve_field_info(t->in.w, 0);
    o[1] = __builtin_preserve_field_info(t->in.w, 1);
    o[2] = exists(t->pid);
    o[3] = exists(t->missing);
    o[4] = __builtin_preserve_field_info(t->delta, 3);
    o[5] = __builtin_preserve_field_info(t->flags, 3);
    o[6] = __builtin_preserve_field_info(t->wide, 0);
    o[7] = __builtin_preserve_field_info(t->wide, 1);
    o[8] = __builtin_preserve_field_info(t->wide, 4);
    o[9] = __builtin_preserve_field_info(t->wide, 5);
    return 0;
}
SEC("raw_tp/bits") int bits(u64 *ctx)
{
    struct sock___mine *s = (void *)ctx[0];
    volatile u64 *o = out;
    o[0] = __builtin_preserve_field_info(s->reuse, 0);
    o[1] = __builtin_preserve_field_info(s->reuse, 1);
    o[2] = __builtin_preserve_field_info(s->reuse, 4);
    o[3] = __builtin_preserve_field_info(s->reuse, 5);
    return 0;
}
SEC("raw_tp/types") int types(u64 *ctx)
{
    volatile u64 *o = out;
    o[0] = __builtin_preserve_type_info(*(struct inner *)0, 0);
    o[1] = __builtin_preserve_type_info(*(struct inner *)0, 1);
    o[2] = __builtin_preserve_type_info(*(struct absent *)0, 0);
    o[3] = __builtin_preserve_type_info(*(struct absent *)0, 1);
    o[4] = __builtin_btf_type_id(*(struct inner *)0, 1);
    o[5] = __builtin_btf_type_id(*(struct inner *)0, 0);
    o[6] = __builtin_preserve_type_info(*(inner_t *)0, 0);
    o[7] = __builtin_preserve_enum_value(*(enum state *)STOPPED, 0);
    o[8] = __builtin_preserve_enum_value(*(enum state *)STOPPED, 1);
    o[9] = __builtin_preserve_enum_value(*(enum state *)GONE, 0);
    o[10] = __builtin_preserve_enum_value(*(enum big___v2 *)HUGE, 1);
    return 0;
}
SEC("raw_tp/gone") int gone(u64 *ctx) { return __builtin_preserve_enum_value(*(enum state *)GONE, 1); }
"""


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory, compile_c: Compile) -> dict[str, tuple[LinkedProgram, bytes]]:
    obj = read_elf(compile_c(SOURCE, tmp_path_factory.mktemp("core")))
    return {p.name: (link(p, obj), obj.btf) for p in obj.programs}


def _target(**change: int) -> Btf:
    """The kernel's task_struct as another version might have it."""
    b = BtfBuilder()
    i32, u64 = b.int("int", 4, signed=True), b.int("unsigned long long", 8)
    u32 = b.int("unsigned int", 4)
    b.enum("state", [("RUNNING", 0), ("STOPPED", 40)])
    b.enum64("big", [("HUGE", 1 << 40)])
    inner = b.struct("inner", 24, [("pad", u64, 0), ("w", u64, 64), ("z", i32, 128)])
    b.typedef("inner_t", inner)
    union = b.union("", 8, [("other", u64, 0), ("anonymous", i32, 0)])
    b.struct(
        "task_struct",
        400,
        [
            ("state", u64, 0), ("flags", change.get("flags", u64) if change.get("flags") != 4 else u32, 64),
            ("", union, 640), ("in", inner, 960), ("table", b.array(u64, change.get("table", 8)), 1280),
            ("pid", i32, 2048), ("delta", u64 if change.get("delta") == 8 else i32, 2112),
            ("next", b.ptr(0), 2176),
        ],
    )  # fmt: skip
    raw = b.build()
    return Btf(raw)


def _bits_target() -> Btf:
    b = BtfBuilder()
    u32, i32, u64 = b.int("unsigned int", 4), b.int("int", 4, signed=True), b.int("unsigned long long", 8)
    inner = b.struct("inner", 16, [("z", i32, 0), ("w", u64, 64)])
    b.struct("task_struct", 64, [("pid", i32, 0, 0), ("in", inner, 64, 0), ("delta", i32, 224, 0),
                                 ("flags", u32, 256, 0), ("wide", u32, 300, 20)])  # fmt: skip
    return Btf(b.build())


def _insns(code: bytes) -> list[tuple[int, int, int]]:
    return [struct.unpack_from("<BxhI", code, i) for i in range(0, len(code), 8)]


def _changed(linked: tuple[LinkedProgram, bytes], target: Btf) -> list[tuple[int, int, int]]:
    """(opcode, offset, immediate) of the relocated instructions, in order."""
    program, btf = linked
    done = apply_core(program, btf, target)
    assert done.core == () and len(done.insns) == len(program.insns)
    rows = _insns(done.insns)
    return [rows[c.insn] for c in program.core]


Linked = dict[str, tuple[LinkedProgram, bytes]]


def test_loads_get_the_targets_offsets(linked: Linked) -> None:
    target = _target(flags=4)
    assert _changed(linked["pid"], target)[0][:2] == (0x61, 256)
    assert _changed(linked["anonymous"], target)[0][:2] == (0x61, 80)
    assert _changed(linked["deep"], target)[0][:2] == (0x79, 128)
    assert _changed(linked["table"], target)[0][:2] == (0x79, 160 + 24)
    assert _changed(linked["address"], target)[0][2] == 120


def test_unsigned_fields_are_read_at_their_new_width(linked: Linked) -> None:
    assert _changed(linked["flags"], _target())[0][:2] == (0x79, 8)
    assert _changed(linked["flags"], _target(flags=4))[0][:2] == (0x61, 8)


def test_signed_fields_of_another_width_are_poisoned(linked: Linked) -> None:
    assert _changed(linked["delta"], _target())[0][:2] == (0x61, 264)
    assert _changed(linked["delta"], _target(delta=8))[0] == (0x85, 0, POISON)


def test_missing_field_is_known_and_its_load_poisoned(linked: Linked) -> None:
    rows = _changed(linked["missing"], _target())
    assert [row for row in rows if row[0] != 0x85] and all(r[2] == 0 for r in rows if r[0] != 0x85)
    assert (0x85, 0, POISON) in rows


def test_array_that_became_shorter(linked: Linked) -> None:
    assert _changed(linked["table"], _target(table=3))[0] == (0x85, 0, POISON)
    assert _changed(linked["table"], _target(table=0))[0][:2] == (0x79, 184)  # as much as there is room for


def _facts(linked: Linked, name: str, target: Btf) -> dict[tuple[str, int], int]:
    """(accessor, kind) -> immediate after relocation."""
    program, btf = linked[name]
    rows = _insns(apply_core(program, btf, target).insns)
    return {(c.access, c.kind): rows[c.insn][2] for c in program.core}


def test_facts_about_fields(linked: Linked) -> None:
    facts = _facts(linked, "facts", _bits_target())
    assert facts == {
        ("0:3:1", 0): 16, ("0:3:1", 1): 8, ("0:0", 2): 1, ("0:7", 2): 0, ("0:9", 3): 1, ("0:1", 3): 0,
        # Bits 300 to 319: the aligned 4 bytes at 36 hold bits 288 to 319.
        ("0:6", 0): 36, ("0:6", 1): 4, ("0:6", 4): 64 - 32, ("0:6", 5): 64 - 20,
    }  # fmt: skip


def test_bit_field_across_its_type_is_read_wider(linked: Linked) -> None:
    b = BtfBuilder()
    u32, i32, u64 = b.int("unsigned int", 4), b.int("int", 4, signed=True), b.int("unsigned long long", 8)
    inner = b.struct("inner", 16, [("w", u64, 0)])
    b.struct("task_struct", 64, [("pid", i32, 0, 0), ("in", inner, 64, 0), ("delta", i32, 224, 0),
                                 ("flags", u32, 256, 0), ("wide", u32, 340, 20)])  # fmt: skip
    facts = _facts(linked, "facts", Btf(b.build()))
    # Bits 340 to 359 cross 352: the 8 bytes at 40 hold bits 320 to 383.
    assert (facts["0:6", 0], facts["0:6", 1], facts["0:6", 4]) == (40, 8, 64 - 40)


def test_bit_field_that_the_compiler_would_read_otherwise(linked: Linked) -> None:
    """Clang takes four bytes for it, we take its type: offset, size and shift belong together."""
    b = BtfBuilder()
    u32, u16, u8 = b.int("unsigned int", 4), b.int("unsigned short", 2), b.int("unsigned char", 1)
    b.struct("sock", 8, [("hash", u32, 0, 0), ("family", u16, 32, 0), ("state", u8, 48, 0), ("reuse", u8, 56, 4)])
    facts = _facts(linked, "bits", Btf(b.build()))
    assert facts == {("0:3", 0): 7, ("0:3", 1): 1, ("0:3", 4): 60, ("0:3", 5): 60}


def test_facts_about_types(linked: Linked) -> None:
    target = _target()
    program, btf = linked["types"]
    done = apply_core(program, btf, target)
    rows = _insns(done.insns)
    local = Btf(btf)
    got: dict[tuple[str, int, str], int] = {}
    for c in program.core:
        value = rows[c.insn][2] | (rows[c.insn + 1][2] << 32 if rows[c.insn][0] == 0x18 else 0)
        got[local.name(c.type_id), c.kind, c.access] = value
    inner = target.find("inner", KIND_STRUCT)
    local_inner = local.find("inner", KIND_STRUCT)
    assert got == {
        ("inner", 8, "0"): 1, ("inner", 9, "0"): 24, ("absent", 8, "0"): 0, ("absent", 9, "0"): 0,
        ("inner", 7, "0"): inner, ("inner", 6, "0"): local_inner, ("inner_t", 8, "0"): 1,
        ("state", 10, "1"): 1, ("state", 11, "1"): 40, ("state", 10, "2"): 0, ("big___v2", 11, "0"): 1 << 40,
    }  # fmt: skip


def test_value_of_a_missing_enumerator_is_poisoned(linked: Linked) -> None:
    program, btf = linked["gone"]
    rows = _insns(apply_core(program, btf, _target()).insns)
    at = program.core[0].insn
    assert rows[at] == rows[at + 1] == (0x85, 0, POISON)


def test_a_type_that_the_target_lacks(linked: Linked) -> None:
    b = BtfBuilder()
    b.int("int", 4, signed=True)
    assert _changed(linked["pid"], Btf(b.build()))[0] == (0x85, 0, POISON)


def _two_tasks(offset: int) -> Btf:
    b = BtfBuilder()
    i32 = b.int("int", 4, signed=True)
    b.struct("task_struct", 64, [("pid", i32, 32)])
    b.struct("task_struct", 128, [("pid", i32, offset), ("more", i32, 64)])
    return Btf(b.build())


def test_types_of_the_same_name(linked: Linked) -> None:
    assert _changed(linked["pid"], _two_tasks(32))[0][1] == 4
    with pytest.raises(ObjectError, match=r"relocate pid: field_byte_offset of task_struct___mine.pid .* ambiguous"):
        _changed(linked["pid"], _two_tasks(96))


def test_offset_that_no_load_can_hold(linked: Linked) -> None:
    b = BtfBuilder()
    b.struct("task_struct", 1 << 17, [("pid", b.int("int", 4, signed=True), 1 << 19)])
    with pytest.raises(ObjectError, match="offset 65536 does not fit"):
        _changed(linked["pid"], Btf(b.build()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"insn": 9999}, "no such instruction"),
        ({"access": "0:99"}, "has no member 99"),
        ({"access": "0:x"}, "no list of numbers"),
        ({"access": ""}, "no list of numbers"),
        ({"access": "0:0:0"}, "cannot go into int"),
        ({"kind": 77}, "unknown kind"),
        ({"type_id": 9999}, "type 9999"),
        ({"kind": 11}, "no enumerator"),
        ({"access": "0:9"}, "instruction holds 0, the program's types say"),
    ],
)
def test_damaged_relocations(change: dict[str, object], message: str, linked: Linked) -> None:
    program, btf = linked["pid"]
    bad = program.replace(core=(program.core[0].replace(**change),))
    with pytest.raises(ObjectError, match=message):
        apply_core(bad, btf, _target())


def test_type_matches(linked: Linked) -> None:
    """Kind 12, which clang 14 cannot emit yet: every member of ours must be there with the same type."""
    program, btf = linked["types"]
    local = Btf(btf)
    at = next(c.insn for c in program.core if local.name(c.type_id) == "inner" and c.kind == 8)

    def matches(name: str, kind: int, target: Btf) -> int:
        id = local.find(name, kind)
        assert id is not None
        one = program.replace(core=(CoreRelocation(at, id, "0", 12),))
        return _insns(apply_core(one, btf, target).insns)[at][2]

    assert matches("inner", KIND_STRUCT, _target()) == 1
    assert matches("state", KIND_ENUM, _target()) == 0  # GONE is not there
    b = BtfBuilder()
    b.struct("inner", 16, [("z", b.int("int", 4, signed=True), 0), ("w", b.int("long long", 8, signed=True), 64)])
    assert matches("inner", KIND_STRUCT, Btf(b.build())) == 0  # another sign


def test_program_without_relocations_is_left_alone(linked: Linked) -> None:
    plain = LinkedProgram("x", bytes(16))
    assert apply_core(plain, b"", _target()) is plain
