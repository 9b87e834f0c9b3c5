"""Reading, copying and zeroing memory of every space, and moving values between registers and memory."""

from __future__ import annotations

from .. import ast
from ..types import BPF, CONTEXT, INT64, KERNEL, USER, Type
from ._layout import align_of, has_padding, size_of, tuple_layout
from ._portable import move, width
from ._program import Program, Value

INLINE = 128  # bytes that are copied or zeroed by instructions; more goes through a helper


def zero(p: Program, pointer: str, size: int, align: int = 8) -> None:
    if size <= INLINE:
        p.f.fill_zero(pointer, size, align)
    else:
        read_raw(p, KERNEL, pointer, size, p.f.to_int(p.zero_constant(size)))


def copy(p: Program, to: str, source: str, size: int, align: int = 8) -> None:
    """Copy between two places that the program may access directly."""
    if size <= INLINE:
        p.f.copy(to, source, size, align)
    else:
        read_raw(p, KERNEL, to, size, p.f.to_int(source))


def read_raw(p: Program, space: str, to: str, size: int | str, address: str) -> str:
    """bpf_probe_read_{kernel,user}: returns the helper's result; on failure the kernel zeroes the destination."""
    number = p.features.probe_read(space == USER)
    result = p.f.helper(number, f"ptr {to}", str(size), address)
    report_failure(p, "probe_read_user" if space == USER else "probe_read_kernel", result)
    return result


def report_failure(p: Program, helper: str, result: str) -> None:
    """With -k: tell user space of a helper that failed (a negative result) for what is being evaluated."""
    if not p.script.options.helper_errors or p.reporting:
        return
    from ._events import send

    f = p.f
    failed, done = f.label("failed"), f.label("worked")
    f.cond_br(f.icmp("slt", f.truncate(result, 4, True), "0"), failed, done)
    f.start(failed)
    p.reporting = True
    send(p, "helper_error", p.node, [("code", INT64, lambda to: f.store(result, to))], args=(("helper", helper),))
    p.reporting = False
    f.br(done)
    f.start(done)


def read_string(p: Program, space: str, to: str, size: int | str, address: str) -> str:
    """bpf_probe_read_{kernel,user}_str: at most `size` bytes with the final NUL; returns their number or -errno."""
    number = p.features.probe_read_str(space == USER)
    result = p.f.helper(number, f"ptr {to}", str(size), address)
    report_failure(p, "probe_read_user_str" if space == USER else "probe_read_kernel_str", result)
    return result


def read_text(p: Program, space: str, to: str, size: int, address: str) -> None:
    """Up to `size` characters, the last byte being one of them where the text goes on (it is NUL otherwise).

    So user space can tell a text that was cut from one that just fits, and a character array without a NUL is whole.
    """
    f = p.f
    count = read_string(p, space, to, size, address)
    full, done = f.label("full"), f.label("read")
    f.cond_br(f.icmp("eq", count, str(size)), full, done)
    f.start(full)
    read_raw(p, space, f.gep(to, size - 1), 1, f.op("add", address, str(size - 1)))
    f.br(done)
    f.start(done)


def load_scalar(p: Program, base: Value, offset: int, t: Type) -> str:
    """The number or pointer of type `t` at `base` + offset."""
    size, f = size_of(t), p.f
    if base.text is not None:
        return str(int.from_bytes(base.text.ljust(offset + size, b"\0")[offset : offset + size], "little"))
    if base.space == CONTEXT:
        return f.load_context(p.context_pointer(), base.offset + offset, size, t.signed)
    if base.space == BPF:
        return f.load(f.gep(base.reg, offset), size, t.signed, align=1 if offset % size else 0)
    slot = f.alloca(8)
    read_raw(p, base.space, slot, width(p, slot, size, offset), move(p, base.reg, offset))
    return f.load(slot, size, t.signed)


def address_of(p: Program, value: Value) -> str:
    """The address (i64) of a value in memory."""
    if value.text is not None:
        return p.f.to_int(in_memory(p, value))
    if value.space == CONTEXT:
        base = p.f.to_int(p.context_pointer())
        return p.f.op("add", base, str(value.offset)) if value.offset else base
    return p.f.to_int(value.reg) if value.space == BPF else value.reg


def at_offset(p: Program, base: Value, offset: int, t: Type) -> Value:
    """The value of type `t` that lies `offset` bytes into `base`: loaded when it fits a register."""
    if t.in_register:
        return Value(t, load_scalar(p, base, offset, t))
    if base.space == CONTEXT:
        return Value(t, "", CONTEXT, offset=base.offset + offset)
    if base.space == BPF:
        part = Value(t, p.f.gep(base.reg, offset), BPF)
        part.aligned = base.aligned and base.type.kind in ("tuple", "record")
        return part
    return Value(t, move(p, base.reg, offset), base.space)


def read_space(value: Value) -> str:
    """The space for the helpers that read it: the context and our own memory are kernel memory."""
    return USER if value.space == USER else KERNEL


def store(p: Program, value: Value, to: str, t: Type, *, pad: bool = False) -> None:
    """Write a value to memory as type `t`. With `pad` every byte after a string's end is zero (map keys).

    A tuple in our memory is always padded, whatever made it: it may become a key by a mere copy.
    """
    f = p.f
    pad = pad or t.kind in ("tuple", "record")
    if t.in_register:
        f.store(value.reg, to, size_of(t))
    elif t.kind == "string":
        _store_string(p, value, to, t, pad)
    elif t.kind in ("tuple", "record") and t != value.type:
        _store_tuple(p, value, to, t, pad)
    elif value.space == BPF:
        copy(p, to, value.reg, min(size_of(t), value.size), copy_align(t))
    elif value.space == CONTEXT and t.kind == "struct" and p.probe.provider in ("uprobe", "uretprobe"):
        from ._context import store_arguments

        store_arguments(p, to, t)
    else:
        p.need_layout(t)
        read_raw(p, read_space(value), to, size_of(t), address_of(p, value))


def alignment(value: Value) -> int:
    """What the address of a value in our own memory is a multiple of."""
    return align_of(value.type) if value.aligned else 1


def copy_align(t: Type) -> int:
    """The alignment that every value of this type in our own memory has."""
    return 1 if t.kind in ("struct", "union", "array", "buffer") else align_of(t)


def _store_string(p: Program, value: Value, to: str, t: Type, pad: bool) -> None:
    f, size = p.f, t.size
    if value.text is not None:
        store_bytes(p, (value.text[: size - 1] + b"\0").ljust(size if pad else 0, b"\0")[:size], to, align_of(t))
        return
    if value.space == BPF and (value.padded or not pad):
        n = min(size, value.size)
        copy(p, to, value.reg, n, min(align_of(t), alignment(value)))
        if n < size and pad:
            zero(p, f.gep(to, n), size - n, 1 if n % 8 else min(8, align_of(t)))
        elif n < size:
            f.store("0", f.gep(to, n), 1)
        return
    if pad:
        zero(p, to, size, align_of(t))
    else:
        f.store("0", to, 1)
    if value.type.kind == "string" and value.size <= size:
        read_text(p, read_space(value), to, value.size, address_of(p, value))
    else:
        read_string(p, read_space(value), to, size, address_of(p, value))


def store_bytes(p: Program, data: bytes, to: str, align: int = 1) -> None:
    """Write constant bytes: by immediate stores, or copied from read-only data when there are many."""
    if len(data) > 64:
        copy(p, to, p.module.constant(data.ljust(-(-len(data) // 8) * 8, b"\0")), len(data), align)
        return
    at = 0
    while at < len(data):
        width = next(w for w in (8, 4, 2, 1) if at + w <= len(data))
        number = int.from_bytes(data[at : at + width], "little", signed=width == 8)
        p.f.store(str(number), p.f.gep(to, at), width, align=min(width, align))
        at += width


def _store_tuple(p: Program, value: Value, to: str, t: Type, pad: bool) -> None:
    """Element by element: the element types differ (a wider integer, a longer string)."""
    if pad and has_padding(t):
        zero(p, to, size_of(t), align_of(t))
    theirs, _ = tuple_layout(value.type)
    ours, _ = tuple_layout(t)
    for i, (to_type, target) in enumerate(zip(t.elements, ours)):
        j = value.type.names.index(t.names[i]) if t.names else i
        store(p, at_offset(p, value, theirs[j], value.type.elements[j]), p.f.gep(to, target), to_type, pad=pad)


def in_memory(p: Program, value: Value, t: Type | None = None, *, pad: bool = False) -> str:
    """A pointer to the value in memory that the program may pass to helpers."""
    t = t or value.type
    ours = value.space == BPF and not t.in_register and t == value.type and value.text is None
    if ours and (not pad or value.padded or t.kind in ("kstack", "ustack", "usym", "inet", "mac")):
        return value.reg
    to = p.stack_or_scratch(size_of(t))
    if pad and has_padding(t):
        zero(p, to, size_of(t), align_of(t))
    store(p, value, to, t, pad=pad)
    return to


def places(node: ast.TupleLiteral | ast.RecordLiteral, t: Type) -> list[tuple[ast.Expr, int, Type]]:
    """(item, offset, type) of a literal's items in a value of type `t`; records go by name, in any order."""
    offsets, _ = tuple_layout(t)
    order = [t.names.index(n) for n in node.names] if isinstance(node, ast.RecordLiteral) else range(len(node.items))
    return [(item, offsets[i], t.elements[i]) for item, i in zip(node.items, order)]


def build(p: Program, node: ast.Expr, to: str, t: Type, *, pad: bool = False) -> None:
    """Evaluate an expression straight into memory, without a temporary where its kind allows."""
    pad = pad or t.kind in ("tuple", "record")
    if isinstance(node, ast.TupleLiteral | ast.RecordLiteral) and t.kind in ("tuple", "record"):
        if pad and has_padding(t):
            zero(p, to, size_of(t), align_of(t))
        for item, offset, element in places(node, t):
            build(p, item, p.f.gep(to, offset), element, pad=pad)
        return
    if isinstance(node, ast.Call):
        writer = INTO.get(node.name)
        if writer and writer(p, node, to, t, pad):
            return
    if isinstance(node, ast.Name) and node.name == "comm" and t.kind == "string" and t.size == 16:
        p.f.helper(16, f"ptr {to}", "16")
        return
    store(p, p.expr(node), to, t, pad=pad)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Calls that write their result where it is wanted: name -> writer(program, call, pointer, type, pad), False to decline.
INTO: dict[str, Callable[[Program, ast.Call, str, Type, bool], bool]] = {}
