"""Contexts that are the arguments of a kernel function: tracing, LSM and struct_ops programs.

Every argument lies in a slot of 8 bytes of its own (btf_ctx_access in kernel/bpf/btf.c). A number may be read with any
width at the start of its slot; pointers to structs become typed pointers, other pointers are numbers.
"""

from __future__ import annotations

from .._data import Data
from ..btf import (
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
)
from ..isa import attach_type_name, prog_type_name
from ._context import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf
    from ._profile import Profile

_NUMBERS = frozenset((KIND_INT, KIND_ENUM, KIND_ENUM64))
_STRUCTS = frozenset((KIND_STRUCT, KIND_UNION))
_SLOTS = 12
# The kernel's names for attach types that see what the function returned.
_SEE_RESULT = frozenset(("trace_fexit", "modify_return", "lsm_mac", "lsm_cgroup"))
_PREFIX = {"trace_raw_tp": "btf_trace_", "trace_iter": "bpf_iter_", "lsm_mac": "bpf_lsm_", "lsm_cgroup": "bpf_lsm_"}
# Arguments are trusted since 6.2 (3f00c5239344), and tracepoints' may be NULL since 6.13 (838a10bd2ebf).
_TRUSTED = (6, 2)
_NULLABLE = (6, 13)
# 659b9ba7cb2d, which stable releases of 6.12 have: a pointer is read whole.
_SIZED = (6, 12)


class Arguments(Data):
    """What a function hands over: one type id a slot, the result's behind them if it can be seen (0: it is void)."""

    function: str
    types: tuple[int, ...]
    result: int = -1
    trusted: bool = False
    special: tuple[str, ...] = ()
    nullable: tuple[int, ...] = ()
    narrow: bool = False  # pointers may be read with any width, and stay pointers


def arguments(
    btf: Btf, prog_type: int, attach_type: int, attach_to: str, profile: Profile | None = None
) -> Arguments | None:
    """The arguments of what such a program attaches to, None if the kernel's BTF has no such place.

    `attach_to` is a function, a tracepoint (`sched_switch`), an LSM hook (`file_open`), an iterator (`task`), or
    STRUCT.MEMBER for struct_ops.
    """
    version = profile.version if profile else (99, 0)
    found = _arguments(btf, prog_type_name(prog_type) or "", attach_type_name(attach_type) or "", attach_to, version)
    return found.replace(narrow=version < _SIZED) if found else None


def _arguments(btf: Btf, prog: str, attach: str, attach_to: str, version: tuple[int, int]) -> Arguments | None:
    if prog == "struct_ops":
        return _member(btf, attach_to, version >= _TRUSTED)
    prefix = _PREFIX.get(attach, "")
    name = prefix + attach_to.removeprefix(prefix)
    if attach == "trace_raw_tp":
        return _tracepoint(btf, name, version)
    id = btf.find(name, KIND_FUNC)
    if id is None:
        return None
    proto = btf.type(id).type_id
    special: tuple[str, ...] = ()
    if attach == "trace_iter":
        from ._gen.arguments import ITERATORS

        special = ITERATORS.get(name.removeprefix(prefix), ())
    trusted = version >= _TRUSTED and attach in ("lsm_mac", "lsm_cgroup", "trace_iter")
    result = btf.type(proto).type_id if attach in _SEE_RESULT else -1
    return Arguments(name, _slots(btf, proto), result, trusted, special)


def btf_access(btf: Btf, args: Arguments, off: int, size: int, write: bool) -> Access | None:
    """The access of `size` bytes at `off`; None if the kernel says "invalid bpf_context access"."""
    number = off // 8
    if write or off < 0 or number >= _SLOTS or off % size:
        return None
    type_id = args.types[number] if number < len(args.types) else args.result if number == len(args.types) else -1
    if type_id < 0 or off % 8:
        return None
    target = btf.type(btf.resolve(type_id)) if type_id else None
    if target is None:
        return None  # the result of a void function
    if target.kind in _NUMBERS or target.kind in _STRUCTS:
        return Access("scalar", size)
    if target.kind != KIND_PTR or (size != 8 and not args.narrow):
        return None
    found = _pointer(btf, args, number, btf.resolve(target.type_id))
    return found.replace(size=size) if found else None


def why_no_access(btf: Btf, args: Arguments, off: int, size: int) -> str:
    """The line that the kernel logs in front of "invalid bpf_context access", or ""."""
    if off % size or off < 0 or off // 8 >= _SLOTS:
        return ""
    if off % 8:
        return f"func '{args.function}' offset {off} is not multiple of 8"
    number = off // 8
    if number >= len(args.types) + (args.result > 0):
        return f"func '{args.function}' doesn't have {number + 1}-th argument"
    if size != 8 and not args.narrow:
        return f"func '{args.function}' size {size} must be 8"
    return ""


def _pointer(btf: Btf, args: Arguments, number: int, target_id: int) -> Access | None:
    """What a pointer argument to a resolved type is."""
    target = btf.type(target_id) if target_id else None
    special = args.special[number] if number < len(args.special) else ""
    if special.endswith("buf_or_null"):
        return Access(special, 8)
    if target is None or target.kind in _NUMBERS:
        return Access("scalar", 8)
    if target.kind not in _STRUCTS:
        return None
    trusted = special.startswith("trusted") if special else args.trusted
    nullable = special.endswith("_or_null") or number in args.nullable
    return Access("btf_or_null" if nullable else "btf", 8, target.name, trusted)


def _tracepoint(btf: Btf, name: str, version: tuple[int, int]) -> Arguments | None:
    from ._gen.arguments import NULLABLE

    id = btf.find(name, KIND_TYPEDEF)
    if id is None:
        return None
    proto = btf.type(btf.type(id).type_id).type_id
    if btf.type(proto).kind != KIND_FUNC_PROTO:
        return None
    nullable = NULLABLE.get(name.removeprefix("btf_trace_"), ()) if version >= _NULLABLE else ()
    # The first parameter is the tracepoint's own data, which programs do not see.
    return Arguments(name, _slots(btf, proto)[1:], -1, version >= _TRUSTED, (), nullable)


def _member(btf: Btf, attach_to: str, trusted: bool) -> Arguments | None:
    struct, _, name = attach_to.partition(".")
    id = btf.find(struct, KIND_STRUCT)
    for member in btf.type(id).members if id is not None else ():
        if member.name == name:
            pointer = btf.type(btf.resolve(member.type_id))
            proto = btf.resolve(pointer.type_id) if pointer.kind == KIND_PTR else 0
            if proto and btf.type(proto).kind == KIND_FUNC_PROTO:
                return Arguments(name, _slots(btf, proto), -1, trusted)
    return None


def _slots(btf: Btf, proto: int) -> tuple[int, ...]:
    """The type of every 8-byte slot: a struct handed over by value has as many as it needs."""
    out: list[int] = []
    for param in btf.type(proto).params:
        if not param.type_id:
            break  # variadic
        target = btf.type(btf.resolve(param.type_id))
        slots = (target.size + 7) // 8 if target.kind in _STRUCTS else 1
        out += [param.type_id] * max(1, slots)
    return tuple(out)
