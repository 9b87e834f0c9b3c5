"""Programs of objects made ready for the verifier: linked, adapted to a kernel's types, maps by their index."""

from __future__ import annotations

from struct import pack_into

from ..btf import KIND_FUNC, KIND_PTR, KIND_STRUCT, KIND_VAR, Btf, BtfType
from ..errors import BtfError, NotSupported, ObjectError
from ..isa import op
from ..isa.map_types import PERF_EVENT_ARRAY
from ..objects import POISON, apply_core, at_version, kconfig_contents, link, relocated_name, set_wide
from ._types import MapInfo, Program, Subprogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import closing

    from ..objects import LinkedProgram, MapSpec, Object, ProgramSpec, Relocation

EXT = 28  # BPF_PROG_TYPE_EXT
# Structs in map values that the kernel gives a meaning of its own, and kinds of pointers told by their type tag.
SPECIAL = {
    "bpf_spin_lock": "spin_lock",
    "bpf_res_spin_lock": "res_spin_lock",
    "bpf_timer": "timer",
    "bpf_wq": "wq",
    "bpf_task_work": "task_work",
    "bpf_list_head": "list_head",
    "bpf_list_node": "list_node",
    "bpf_rb_root": "rb_root",
    "bpf_rb_node": "rb_node",
    "bpf_refcount": "refcount",
}
TAGS = {"kptr": "kptr", "kptr_untrusted": "kptr_untrusted", "percpu_kptr": "percpu_kptr", "uptr": "uptr"}
# What "one for each CPU" is taken to mean: no verdict depends on it.
SOME_CPUS = 8
# A nested struct that holds a special field may itself be nested; the kernel follows four levels of arrays and structs.
DEPTH = 4


def convert(obj: Object, spec: ProgramSpec, kernel: Btf | None = None) -> Program:
    """The program as the verifier takes it. `kernel` are the types of the kernel in question: CO-RE relocations, kfuncs
    and kernel variables are resolved in it; None takes this machine's, when something needs one.

    ObjectError for a program that cannot be linked or relocated; NotSupported where that takes types that are not here.
    """
    if spec.type == EXT:
        raise NotSupported(
            f"verify {spec.name}: it stands in for a function of another program, with whose types it is verified",
            feature="extension programs",
            hint="a kernel that has the other program loaded says whether it fits",
        )
    linked = link(spec, obj)
    needs_types = linked.core or any(r.kind in ("kfunc", "ksym") for r in linked.relocations)
    if kernel is None and needs_types:
        with _this_kernel(spec.name) as kernel:
            return convert(obj, spec, kernel).replace(kernel=None)
    absent: list[tuple[int, str]] = []
    if linked.core and kernel is not None:
        adapted = apply_core(linked, obj.btf, kernel)
        lacking = {r.insn: r for r in linked.core if _is_poison(adapted.insns, r.insn)}
        if lacking:
            local = Btf(obj.btf)
            absent = [(slot, relocated_name(local, r)) for slot, r in sorted(lacking.items())]
        linked = adapted
    code = bytearray(linked.insns)
    names = [m.name for m in obj.maps]
    kfuncs: dict[int, str] = {}
    for r in linked.relocations:
        _relocate(code, spec.name, r, names, kernel, kfuncs)
    btf = Btf(obj.btf) if obj.btf else None
    return Program(
        insns=bytes(code),
        type=spec.type,
        attach_type=spec.attach_type,
        license=obj.license,
        maps=tuple([_kconfig(m, btf, obj) if m.name == ".kconfig" else _map(m, btf) for m in obj.maps]),
        name=spec.name,
        subprograms=_subprograms(linked, obj),
        lines=linked.lines,
        btf=obj.btf,
        attach_to=spec.attach_to,
        flags=spec.flags,
        kfuncs=tuple(kfuncs.items()),
        kernel=kernel,
        absent=tuple(absent),
    )


def _is_poison(insns: bytes, slot: int) -> bool:
    """Whether CO-RE has put a call that no kernel takes in place of what is absent."""
    return insns[8 * slot] == op.JMP | op.CALL and insns[8 * slot + 4 : 8 * slot + 8] == POISON.to_bytes(4, "little")


def _this_kernel(program: str) -> closing[Btf]:
    from contextlib import closing

    from ..btf import load_kernel_btf

    try:
        return closing(load_kernel_btf())
    except BtfError as e:
        raise NotSupported(
            f"verify {program}: it refers to kernel types, and there are none here: {e.message}",
            feature="kernel types",
            hint="give a kernel's BTF: --btf FILE",
        ) from None


def _subprograms(linked: LinkedProgram, obj: Object) -> tuple[Subprogram, ...]:
    starts = [start for start, _ in linked.func_infos]
    types = dict(linked.func_infos)
    if not starts:
        return ()
    is_global = {f.name for f in obj.subprograms if f.is_global}
    return tuple(
        Subprogram(start=start, name=name, is_global=name in is_global, btf_id=types[start])
        for start, name in zip(starts, linked.names, strict=True)
    )


def _relocate(
    code: bytearray, program: str, r: Relocation, maps: list[str], kernel: Btf | None, kfuncs: dict[int, str]
) -> None:
    at = r.insn * 8
    if r.kind in ("map", "map_value", "kconfig"):
        name = ".kconfig" if r.kind == "kconfig" else r.symbol
        if name not in maps:
            raise ObjectError(f"verify {program}: map {name!r} is not in the object")
        by_value = r.kind != "map"
        set_wide(
            code, r.insn, op.PSEUDO_MAP_VALUE if by_value else op.PSEUDO_MAP_FD, maps.index(name), r.addend * by_value
        )
        return
    kind = KIND_FUNC if r.kind == "kfunc" else KIND_VAR
    found = kernel.find(r.symbol, kind) if kernel is not None else None
    if r.kind == "kfunc":
        if found is not None:
            pack_into("<BBhi", code, at, op.JMP | op.CALL, op.PSEUDO_KFUNC_CALL << 4, 0, found)
            kfuncs[found] = r.symbol
        elif r.weak:
            pack_into("<BBhi", code, at, op.JMP | op.CALL, 0, 0, 2001000000)
        else:
            raise ObjectError(
                f"verify {program}: the kernel's types have no kfunc {r.symbol!r}",
                hint="guard the call with bpf_ksym_exists() on a __weak declaration",
            )
    elif found is not None:
        set_wide(code, r.insn, op.PSEUDO_BTF_ID, found, 0)
    elif r.weak:
        set_wide(code, r.insn, 0, 0, 0)
    else:
        # A variable without a type: an address, which is a number to the verifier.
        set_wide(code, r.insn, 0, 0x1000 + r.addend, 0xFFFF_8000)


def _kconfig(spec: MapSpec, btf: Btf | None, obj: Object) -> MapInfo:
    """Options are those of this machine's kernel, or anything where they are not known; the version is a profile's."""
    if spec.contents is not None and any(spec.contents):
        return _map(spec, btf)  # a target has filled it
    from ..syscalls import kernel_config

    try:
        contents = kconfig_contents(obj, spec, (0, 0, 0), lambda: kernel_config() or None)
    except NotSupported:
        return _map(spec.replace(frozen=False), btf)
    return _map(spec.replace(contents=contents, frozen=True), btf).replace(version_at=at_version(obj, spec))


def _map(spec: MapSpec, btf: Btf | None) -> MapInfo:
    entries = spec.max_entries or (SOME_CPUS if spec.type == PERF_EVENT_ARRAY else 0)
    fields: list[tuple[int, int, str]] = []
    if btf is not None and spec.value_type:
        _special_fields(btf, spec.value_type, 0, fields, DEPTH)
    return MapInfo(
        type=spec.type,
        key_size=spec.key_size,
        value_size=spec.value_size,
        max_entries=entries,
        flags=spec.flags,
        name=spec.name,
        inner=_map(spec.inner, btf) if spec.inner is not None else None,
        frozen=spec.contents if spec.frozen else None,
        btf_fields=tuple(fields),
        btf_value=spec.value_type,
    )


def _special_fields(btf: Btf, id: int, at: int, out: list[tuple[int, int, str]], depth: int) -> None:
    """(offset, size, kind) in bytes of every special field of a type that lies at byte `at`."""
    try:
        made: BtfType = btf.type(btf.resolve(id))
    except BtfError:
        return
    if made.kind == KIND_PTR:
        for tag in btf.type_tags(made.id):
            if tag in TAGS:
                out.append((at, 8, TAGS[tag]))
    elif made.kind == KIND_STRUCT:
        kind = SPECIAL.get(made.name)
        if kind:
            out.append((at, made.size, kind))
        elif depth:
            for member in made.members:
                _special_fields(btf, member.type_id, at + member.bit_offset // 8, out, depth - 1)
