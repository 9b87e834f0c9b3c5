"""Apply CO-RE relocations: adapt instructions to the types of the kernel that they will run on."""

from __future__ import annotations

from struct import pack_into, unpack_from

from .._data import Data
from ..btf import KIND_INT, KIND_PTR, Btf
from ..errors import BtfError, ObjectError
from ._core_match import (
    ENUMS,
    Spec,
    candidates,
    essential,
    field_spec,
    match_field,
    types_compatible,
    types_match,
)
from ._link import LinkedProgram, link
from ._spec import CoreRelocation, Object, ProgramSpec

# enum bpf_core_relo_kind (linux/bpf.h)
(BYTE_OFFSET, BYTE_SIZE, FIELD_EXISTS, SIGNED, LSHIFT, RSHIFT, TYPE_ID_LOCAL, TYPE_ID_TARGET, TYPE_EXISTS, TYPE_SIZE,
 ENUM_EXISTS, ENUM_VALUE, TYPE_MATCHES) = range(13)  # fmt: skip
KIND_NAMES = (
    "field_byte_offset", "field_byte_size", "field_exists", "field_signed", "field_lshift_u64", "field_rshift_u64",
    "type_id_local", "type_id_target", "type_exists", "type_size", "enumval_exists", "enumval_value", "type_matches",
)  # fmt: skip
_FIELDS = frozenset(range(BYTE_OFFSET, RSHIFT + 1))
# Call of a helper that no kernel has: the verifier refuses the program only if it can get there.
POISON = 0xBAD2310
_LD, _LDX, _ST, _STX, _ALU, _ALU64 = 0, 1, 2, 3, 4, 7
_SIZES = {8: 0x18, 4: 0x00, 2: 0x08, 1: 0x10}  # bits of the opcode that say how wide a load or store is


class Result(Data):
    """What a relocation comes to: `value`, None for what the target lacks.

    `width` is the new size of a load or store, 0 for unchanged, -1 when it cannot be adapted. `offset` is the place in
    bits, which candidates must agree on.
    """

    value: int | None
    offset: int = 0
    width: int = 0


def apply_core(linked: LinkedProgram, obj_btf: Btf | bytes, target_btf: Btf) -> LinkedProgram:
    """The program with its instructions adapted to `target_btf`, and no CO-RE relocations left.

    An instruction that depends on what the target lacks becomes a call that the verifier refuses where it is not
    guarded. Raises ObjectError where two types of the target give different answers, or a relocation is damaged.
    """
    if not linked.core:
        return linked
    local = Btf(obj_btf) if isinstance(obj_btf, bytes) else obj_btf
    code = bytearray(linked.insns)
    done: dict[tuple[int, str, int], tuple[Result, Result]] = {}
    for relocation in linked.core:
        key = (relocation.type_id, relocation.access, relocation.kind)
        try:
            if key not in done:
                done[key] = _resolve(local, relocation, target_btf)
            _patch(code, relocation, *done[key])
        except (ObjectError, BtfError) as error:
            raise ObjectError(f"relocate {linked.name}: {_describe(local, relocation)}: {error.message}") from None
    return linked.replace(insns=bytes(code), core=())


def unresolved_at(obj: Object, program: ProgramSpec, insn: int) -> str:
    """What the call at instruction `insn` of the linked program stands for: "task_struct.pid", or "" if it is none of
    the calls that `apply_core` writes in place of what the target lacks."""
    found = [r for r in link(program, obj).core if r.insn == insn]
    return relocated_name(Btf(obj.btf), found[0]) if found else ""


def _describe(btf: Btf, relocation: CoreRelocation) -> str:
    """`field_byte_offset of task_struct.pid at instruction 5`."""
    kind = KIND_NAMES[relocation.kind] if relocation.kind < len(KIND_NAMES) else f"kind {relocation.kind}"
    return f"{kind} of {relocated_name(btf, relocation)} at instruction {relocation.insn}"


def relocated_name(btf: Btf, relocation: CoreRelocation) -> str:
    """What a relocation is about, in the types of its program: `task_struct.pid`."""
    try:
        what = btf.name(relocation.type_id)
        if relocation.kind in _FIELDS:
            spec = field_spec(btf, relocation.type_id, _access(relocation))
            what += "".join([f".{s.name}" if s.name else f"[{s.index}]" for s in spec.steps[1:]])
    except (ObjectError, BtfError):
        what = f"type {relocation.type_id}, access {relocation.access!r}"
    return what


def _access(relocation: CoreRelocation) -> list[int]:
    parts = relocation.access.split(":")
    if not all(p.isascii() and p.isdecimal() and len(p) < 10 for p in parts):
        raise ObjectError(f"accessor {relocation.access!r} is no list of numbers")
    return [int(p) for p in parts]


# values


def _resolve(local: Btf, relocation: CoreRelocation, target: Btf) -> tuple[Result, Result]:
    """(what the compiler assumed, what is right on the target)."""
    kind, root = relocation.kind, relocation.type_id
    access = _access(relocation)
    if kind >= len(KIND_NAMES):
        raise ObjectError("unknown kind of relocation")
    if kind == TYPE_ID_LOCAL:
        return Result(root), Result(root)
    if kind in _FIELDS:
        spec = field_spec(local, root, access)
        # Compilers choose the loads of bit fields themselves: their assumption need not be ours.
        free = spec.bit_size and kind in (BYTE_OFFSET, BYTE_SIZE, LSHIFT)
        original = Result(None) if free else _field_value(kind, spec)
        found = [(id, match_field(spec, target, id)) for id in candidates(local, root, target)]
        answers = [(id, _adapted(kind, spec, place)) for id, place in found if place is not None]
    elif kind in (ENUM_EXISTS, ENUM_VALUE):
        name, original = _enum_value(local, root, access[0], kind)
        answers = _enum_answers(local, root, target, name, kind)
    else:
        original = Result(_type_value(kind, local, root))
        matches = types_match if kind == TYPE_MATCHES else types_compatible
        ids = [id for id in candidates(local, root, target) if matches(local, root, target, id)]
        answers = [(id, Result(_type_value(kind, target, id))) for id in ids]
    if answers:
        return original, _agreed(answers)
    # What is absent has size 0 and id 0; other aspects of it have no value.
    zero = (FIELD_EXISTS, TYPE_EXISTS, TYPE_MATCHES, TYPE_SIZE, TYPE_ID_TARGET, ENUM_EXISTS)
    return original, Result(0 if kind in zero else None)


def _agreed(answers: list[tuple[int, Result]]) -> Result:
    first_id, first = answers[0]
    for id, other in answers[1:]:
        if other != first:
            raise ObjectError(
                f"ambiguous: type {first_id} of the target says {first.value}, type {id} of the same name {other.value}"
            )
    return first


def _field_value(kind: int, spec: Spec) -> Result:
    btf, bit_offset = spec.btf, spec.bit_offset
    t = btf.type(btf.resolve(spec.type_id))
    if kind == FIELD_EXISTS:
        return Result(1, bit_offset)
    if not spec.member and kind not in (BYTE_OFFSET, BYTE_SIZE):
        raise ObjectError("an array element has no such aspect")
    size = btf.size_of(spec.type_id)
    bits = spec.bit_size or size * 8
    offset = bit_offset // 8
    if spec.bit_size:
        # The narrowest aligned load of at least the declared type's size that covers the bit field.
        offset = bit_offset // 8 // size * size
        while bit_offset + bits - offset * 8 > size * 8:
            if size >= 8:
                raise ObjectError("bit field is too wide for one load")
            size *= 2
            offset = bit_offset // 8 // size * size
    if kind == SIGNED:
        value = int(t.kind in (KIND_INT, *ENUMS) and t.signed)
    elif kind == LSHIFT:
        value = 64 - (bit_offset + bits - offset * 8)
    elif kind == RSHIFT:
        value = 64 - bits
    else:
        value = size if kind == BYTE_SIZE else offset
    return Result(value, bit_offset)


def _adapted(kind: int, local: Spec, target: Spec) -> Result:
    """The value on the target, and how wide a load or store of the field has to be there."""
    result = _field_value(kind, target)
    if kind != BYTE_OFFSET or local.bit_size or target.bit_size:
        return result
    before, after = local.btf.size_of(local.type_id), target.btf.size_of(target.type_id)
    if before == after:
        return result
    # Pointers and unsigned integers can be read at another width: the load fills up with zeros.
    x, y = (s.btf.type(s.btf.resolve(s.type_id)) for s in (local, target))
    fits = x.kind == y.kind and (x.kind == KIND_PTR or (x.kind == KIND_INT and not x.signed and not y.signed))
    return result.replace(width=after if fits else -1)


def _type_value(kind: int, btf: Btf, id: int) -> int:
    if kind == TYPE_ID_TARGET:
        return id
    return btf.size_of(id) if kind == TYPE_SIZE else 1


def _enum_value(local: Btf, root: int, index: int, kind: int) -> tuple[str, Result]:
    t = local.type(local.resolve(root))
    if t.kind not in ENUMS or index >= len(t.values):
        raise ObjectError(f"{t.kind_name.lower()} {t.name!r} has no enumerator {index}")
    return t.values[index].name, Result(1 if kind == ENUM_EXISTS else t.values[index].value)


def _enum_answers(local: Btf, root: int, target: Btf, name: str, kind: int) -> list[tuple[int, Result]]:
    out = []
    for id in candidates(local, root, target):
        t = target.type(target.resolve(id))
        values = [v.value for v in t.values if essential(v.name) == essential(name)] if t.kind in ENUMS else []
        if values:
            out.append((id, Result(1 if kind == ENUM_EXISTS else values[0])))
    return out


# instructions


def _patch(code: bytearray, relocation: CoreRelocation, original: Result, new: Result) -> None:
    at = relocation.insn * 8
    if not 0 <= at <= len(code) - 8:
        raise ObjectError("there is no such instruction")
    op = code[at]
    wide = op == 0x18
    if wide and at + 16 > len(code):
        raise ObjectError("the instruction is cut off")
    if op == 0x85 and unpack_from("<I", code, at + 4)[0] == POISON:
        return  # another relocation of the same instruction could not be met
    is_memory = op & 7 in (_LDX, _ST, _STX)
    if new.value is None or (is_memory and new.width < 0):
        _poison(code, at)
        if wide:
            _poison(code, at + 8)
        return
    expected = original.value
    if is_memory:
        _expect(unpack_from("<h", code, at + 2)[0], expected, 16)
        _patch_memory(code, at, op, new)
    elif op & 7 in (_ALU, _ALU64) and not op & 8:
        _expect(unpack_from("<i", code, at + 4)[0], expected, 32)
        if not -(1 << 31) <= new.value < 1 << 32:
            raise ObjectError(f"{new.value} does not fit a 32-bit immediate")
        pack_into("<I", code, at + 4, new.value & 0xFFFFFFFF)
    elif wide:
        low, high = unpack_from("<I", code, at + 4)[0], unpack_from("<I", code, at + 12)[0]
        _expect(low | high << 32, expected, 64)
        pack_into("<I", code, at + 4, new.value & 0xFFFFFFFF)
        pack_into("<I", code, at + 12, new.value >> 32 & 0xFFFFFFFF)
    else:
        raise ObjectError(f"instruction with opcode {op:#x} cannot be relocated")


def _expect(found: int, expected: int | None, bits: int) -> None:
    mask = (1 << bits) - 1
    if expected is not None and found & mask != expected & mask:
        raise ObjectError(f"the instruction holds {found}, the program's types say {expected}")


def _patch_memory(code: bytearray, at: int, op: int, new: Result) -> None:
    value = new.value or 0
    if not 0 <= value < 1 << 15:
        raise ObjectError(f"offset {value} does not fit a load or store")
    pack_into("<h", code, at + 2, value)
    if new.width:
        if new.width not in _SIZES:
            raise ObjectError(f"{new.width} bytes are no size of a load or store")
        code[at] = op & ~0x18 | _SIZES[new.width]


def _poison(code: bytearray, at: int) -> None:
    pack_into("<BBhI", code, at, 0x85, 0, 0, POISON)
