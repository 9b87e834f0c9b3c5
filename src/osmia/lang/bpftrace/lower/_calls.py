"""The remaining functions: symbols, addresses, conversions, signals."""

from __future__ import annotations

from .. import ast
from ..types import BPF, USER, Type
from ._context import _need, kernel_member, user_symbol
from ._layout import size_of
from ._memory import address_of, copy, in_memory, read_raw, read_space, zero
from ._program import CALLS, Program, Value

AF_INET, AF_INET6 = "2", "10"
_NONE = Type("none")


def _first(p: Program, e: ast.Call) -> ast.Expr:
    if not e.args or isinstance(e.args[0], ast.TypeName):
        raise p.error(f"{e.name}() takes a value", e)
    return e.args[0]


def _convert(p: Program, e: ast.Call) -> Value:
    """A number that user space prints as something else: ksym, cgroup_path, strerror, syscall_name, ..."""
    return Value(e.type, p.integer(_first(p, e)))


def _usym(p: Program, e: ast.Call) -> Value:
    return user_symbol(p, p.integer(_first(p, e)), e.type)


def _strftime(p: Program, e: ast.Call) -> Value:
    node = e.args[1]
    if isinstance(node, ast.TypeName):
        raise p.error("strftime() takes a format and a time", e)
    return Value(e.type, p.integer(node))


def _ntop(p: Program, e: ast.Call) -> Value:
    """ntop([family,] address): u64 family, 16 bytes of address."""
    f = p.f
    node = e.args[-1]
    if isinstance(node, ast.TypeName):
        raise p.error("ntop() takes an address", e)
    to = f.alloca(24)
    f.fill_zero(to, 24)
    value = p.expr(node)
    if value.type.in_register and value.type.kind != "pointer":
        f.store(value.reg, f.gep(to, 8), 4)
        default = AF_INET
        size = 4
    else:
        size = 16 if value.type.kind == "pointer" else min(16, size_of(value.type))
        where = value.reg if value.type.in_register else ""
        if value.space == BPF and not value.type.in_register:
            copy(p, f.gep(to, 8), in_memory(p, value), size, 1)
        else:
            space = read_space(value) if not value.type.in_register else (value.type.space or "kernel")
            read_raw(p, USER if space == USER else "kernel", f.gep(to, 8), size, where or address_of(p, value))
        default = AF_INET if size == 4 else AF_INET6
    family = p.integer(e.args[0]) if len(e.args) > 1 and isinstance(e.args[0], ast.Expr) else default
    f.store(family, to)
    return Value(e.type, to, BPF)


def _pton(p: Program, e: ast.Call) -> Value:
    """The bytes of a literal address: 4 or 16, in network order."""
    import socket

    text = _first(p, e)
    if not isinstance(text, ast.String):
        raise p.error("pton() takes an address as a string literal", e)
    family = socket.AF_INET6 if ":" in text.value else socket.AF_INET
    data = socket.inet_pton(family, text.value)
    to = p.f.alloca(len(data))
    for at in range(0, len(data), 4):
        p.f.store(str(int.from_bytes(data[at : at + 4], "little")), p.f.gep(to, at), 4)
    return Value(e.type, to, BPF)


def _macaddr(p: Program, e: ast.Call) -> Value:
    value = p.expr(_first(p, e))
    to = p.f.alloca(8)
    if value.type.in_register:
        space = value.type.space if value.type.kind == "pointer" else "kernel"
        read_raw(p, space, to, 6, value.reg)
    elif value.space == BPF:
        copy(p, to, value.reg, 6, 1)
    else:
        read_raw(p, read_space(value), to, 6, address_of(p, value))
    return Value(e.type, to, BPF)


def _bswap(p: Program, e: ast.Call) -> Value:
    node = _first(p, e)
    size = size_of(node.type)
    value = p.integer(node)
    return Value(e.type, value if size == 1 else p.f.byte_swap(value, size))


def _kaddr(p: Program, e: ast.Call) -> Value:
    """The address of a kernel symbol, filled in when the program is loaded (it moves with every boot)."""
    name = _first(p, e)
    if not isinstance(name, ast.String):
        raise p.error("kaddr() takes the name of a symbol", e)
    return Value(e.type, p.f.to_int(p.module.kernel_symbol(name.value)))


def _uaddr(p: Program, e: ast.Call) -> Value:
    name = _first(p, e)
    if not isinstance(name, ast.String):
        raise p.error("uaddr() takes the name of a symbol", e)
    return Value(e.type, p.script.user_address(p, name.value, e))


def _percpu_kaddr(p: Program, e: ast.Call) -> Value:
    """Address of a per-CPU variable: its offset plus the CPU's base."""
    name = _first(p, e)
    if not isinstance(name, ast.String):
        raise p.error("percpu_kaddr() takes the name of a symbol", e)
    f = p.f
    symbol = p.module.kernel_symbol(name.value, typed=True)
    if len(e.args) > 1 and isinstance(e.args[1], ast.Expr):
        found = f.helper(153, f"ptr {symbol}", p.integer(e.args[1]), returns="ptr")
    else:
        found = f.helper(154, f"ptr {symbol}", returns="ptr")
    return Value(e.type, f.to_int(found))


def _kptr(p: Program, e: ast.Call) -> Value:
    value = p.expr(_first(p, e))
    if value.type.in_register:
        return Value(e.type, value.reg)
    return Value(e.type, address_of(p, value))


def _is_err(p: Program, e: ast.Call) -> Value:
    """Whether a pointer is one of the last 4095 addresses (IS_ERR of include/linux/err.h)."""
    return Value(e.type, p.f.bool_to_int(p.f.icmp("ugt", p.integer(_first(p, e)), "-4096")))


def _write_user(p: Program, e: ast.Call) -> Value:
    """write_user(address, value, size): bpf_probe_write_user."""
    address, value = _first(p, e), e.args[1]
    if isinstance(value, ast.TypeName):
        raise p.error("write_user() takes a value", e)
    size = value.type.size if len(e.args) < 3 else 0
    length = str(size) if size else p.integer(e.args[2])  # type: ignore[arg-type]
    source = in_memory(p, p.expr(value))
    result = p.f.helper(36, p.integer(address), f"ptr {source}", length)
    return Value(e.type, result) if e.type.in_register else Value(_NONE, "")


def _strcap(p: Program, e: ast.Call) -> Value:
    return Value(e.type, str(size_of(_first(p, e).type)))


def _debugf(p: Program, e: ast.Call) -> Value:
    """debugf(format, up to three arguments): bpf_trace_printk, to be read in trace_pipe."""
    text = _first(p, e)
    if not isinstance(text, ast.String):
        raise p.error("debugf() needs its format as a string literal", e)
    data = text.value.encode() + b"\0"
    arguments = []
    for node in e.args[1:]:
        if isinstance(node, ast.TypeName):
            raise p.error("a type cannot be printed", node)
        value = p.expr(node)
        in_register = value.type.in_register
        arguments.append(value.reg if in_register else p.f.to_int(in_memory(p, value)))
    constant = p.module.constant(data.ljust(-(-len(data) // 8) * 8, b"\0"))
    p.f.helper(6, f"ptr {constant}", str(len(data)), *arguments)
    return Value(_NONE, "")


def _signal(p: Program, e: ast.Call) -> Value:
    number = p.integer(_first(p, e))
    helper = 109 if e.name == "signal" else _need(p, "send_signal_thread", e)
    p.f.helper(helper, number)
    return Value(_NONE, "")


def _override(p: Program, e: ast.Call) -> Value:
    p.f.helper(58, f"ptr {p.context_pointer()}", p.integer(_first(p, e)))
    return Value(_NONE, "")


def _socket_cookie(p: Program, e: ast.Call) -> Value:
    from ._memory import load_scalar

    base = Value(Type("struct", 8), p.integer(_first(p, e)), "kernel")
    offset = kernel_member(p, "sock_common", "skc_cookie", e)
    return Value(e.type, load_scalar(p, base, offset, Type("int", 8)))


def _path(p: Program, e: ast.Call) -> Value:
    """path(struct path *): bpf_d_path, in the few functions where the kernel allows it."""
    to = p.stack_or_scratch(e.type.size)
    zero(p, to, min(8, e.type.size), 1)
    value = p.expr(_first(p, e))
    address = value.reg if value.type.in_register else address_of(p, value)
    p.f.helper(_need(p, "d_path", e), f"ptr {p.f.to_pointer(address)}", f"ptr {to}", str(e.type.size))
    return Value(e.type, to, BPF)


CALLS.update(
    {
        "ksym": _convert,
        "usym": _usym,
        "cgroup_path": _convert,
        "strerror": _convert,
        "signal_name": _convert,
        "syscall_name": _convert,
        "strftime": _strftime,
        "ntop": _ntop,
        "pton": _pton,
        "macaddr": _macaddr,
        "bswap": _bswap,
        "kaddr": _kaddr,
        "uaddr": _uaddr,
        "percpu_kaddr": _percpu_kaddr,
        "kptr": _kptr,
        "uptr": _kptr,
        "debugf": _debugf,
        "signal": _signal,
        "write_user": _write_user,
        "strcap": _strcap,
        "is_err": _is_err,
        "signal_thread": _signal,
        "override": _override,
        "socket_cookie": _socket_cookie,
        "path": _path,
    }
)
