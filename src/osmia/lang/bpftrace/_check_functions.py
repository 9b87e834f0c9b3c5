"""Functions that return a value: what each asks for beyond the table, and the type of its result."""

from __future__ import annotations

from ...isa import PT_REGS
from . import ast, fold
from ._check_arguments import check_argument
from ._check_builtins import task_struct
from ._check_convert import value
from ._check_expr import condition, expr, literal_bool
from ._check_names import suggest, with_space
from ._check_state import State
from ._check_types import FLEX, UNKNOWN, as_integer, integer, is_number, is_text, kind_name, promote, size_of, text
from .types import BPF, KERNEL, UINT8, UINT16, UINT32, UINT64, USER, Type, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KIND_FUNC, KIND_VAR = 12, 14  # BTF_KIND_* of linux/btf.h
BUFFER_HEADER = 4  # bytes that a buffer's length takes of max_strlen


def _arg(e: ast.Call, i: int) -> ast.Expr:
    a = e.args[i]
    assert isinstance(a, ast.Expr)
    return a


def _type(e: ast.Call, i: int) -> Type:
    return as_integer(_arg(e, i).type)


def _number_value(e: ast.Call, i: int) -> int | None:
    a = e.args[i] if i < len(e.args) else None
    return a.value if isinstance(a, ast.Integer) else None


def _str(st: State, e: ast.Call) -> ast.Expr:
    limit = st.config.max_strlen
    a, t = _arg(e, 0), _type(e, 0)
    length = _number_value(e, 1)
    if length is not None and length < 0:
        st.error(e.span, f"str() cannot use negative length ({length})")
        length = None
    if length is not None and length + 1 > limit:
        st.warn(
            e.span,
            f"length param ({length}) is too long and will be shortened to {limit} bytes (see BPFTRACE_MAX_STRLEN)",
        )
    size = length + 1 if length is not None and length + 1 <= limit else limit
    if len(e.args) == 1:
        size = st.config.text_size
    if isinstance(a, (ast.Integer, ast.String)) and (len(e.args) == 1 or length is not None):
        if isinstance(a, ast.String):
            data = fold.string_bytes(a)
        else:
            data = (a.text or str(a.value)).encode()
        return expr(st, fold.new_string(e.span, data if length is None else data[:length]))
    e.type = text(size)
    if t is not UNKNOWN and t.kind not in ("string", "int", "enum", "pointer") and not is_text(t):
        st.error(e.span, f"str() expects a string, integer or a pointer type as first argument ({t} provided)")
    return e


def _buf(st: State, e: ast.Call) -> ast.Expr:
    limit = st.config.max_strlen - BUFFER_HEADER
    t = _type(e, 0)
    length = _number_value(e, 1)
    size = limit
    if t is not UNKNOWN and t.kind not in ("int", "enum", "string", "pointer", "array"):
        st.error(e.span, f"buf() expects an integer, string, or array argument but saw {kind_name(t)}")
    elif len(e.args) == 1 and t.kind != "array" and t is not UNKNOWN:
        st.error(e.span, f"buf() expects a length argument for non-array type {kind_name(t)}")
    if length is not None and length < 0:
        st.error(e.span, f"buf() cannot use negative length ({length})")
    elif length is not None:
        size = length
    elif len(e.args) == 1:
        size = size_of(t)
    e.type = Type("buffer", max(1, min(size, limit)), space=BPF)
    return e


def _symbol(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and not is_number(t) and t.kind != "pointer":
        st.error(e.span, f"{e.name}() expects an integer or pointer argument")
    e.args[0] = value(st, _arg(e, 0))
    return e


def _space(st: State, e: ast.Call) -> ast.Expr:
    space = KERNEL if e.name == "kptr" else USER
    t = _type(e, 0)
    if t is UNKNOWN:
        e.type = t
    elif t.kind == "pointer":
        e.type = with_space(t, space)
    elif is_number(t):
        e.type = integer(8, t.signed and t.mode != FLEX, space)
    else:
        st.error(e.span, f"{e.name}() only supports integer or pointer arguments ({kind_name(t)} provided)")
    return e


def _bswap(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    e.type = integer(t.size or 8, False) if is_number(t) else UNKNOWN
    return e


def _ntop(st: State, e: ast.Call) -> ast.Expr:
    index = len(e.args) - 1
    if index and not check_argument(st, e, _arg(e, 0), "int", False):
        return e
    t = _type(e, index)
    if t is UNKNOWN:
        return e
    if not is_number(t) and t.kind not in ("string", "array"):
        st.error(e.span, f"ntop() expects an integer or array argument, got {kind_name(t)}")
    elif t.kind in ("string", "array") and size_of(t) not in (4, 16):
        st.error(e.span, "ntop() argument must be 4 or 16 bytes in size")
    return e


def _pton(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    assert isinstance(a, ast.String)
    data = parse_address(a.value)
    if data is None:
        what = "a valid" if "." in a.value or ":" in a.value else "an string argument of an"
        st.error(e.span, f"pton() expects {what} IPv4/IPv6 address, got {a.value}")
        data = bytes(4)
    e.type = Type("array", len(data), element=UINT8, count=len(data), space=BPF)
    return e


def parse_address(address: str) -> bytes | None:
    """The 4 or 16 bytes of an IP address."""
    import socket

    for family, mark in ((socket.AF_INET, "."), (socket.AF_INET6, ":")):
        if mark in address and (family == socket.AF_INET6 or ":" not in address):
            try:
                return socket.inet_pton(family, address)
            except (OSError, ValueError):
                return None
    return None


def _macaddr(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is UNKNOWN:
        return e
    if isinstance(_arg(e, 0), ast.String):
        st.error(e.span, "macaddr() does not support literal string arguments")
    elif not is_number(t) and t.kind not in ("array", "pointer", "string", "buffer"):
        st.error(e.span, f"macaddr() only supports array or pointer arguments ({kind_name(t)} provided)")
    elif t.kind in ("array", "string", "buffer") and size_of(t) < 6:
        st.error(e.span, "macaddr() argument must be at least 6 bytes in size")
    return e


def _reg(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    known = PT_REGS.get(st.env.arch, PT_REGS["x86_64"])
    if isinstance(a, ast.String) and a.value not in known:
        st.error(
            e.span,
            f"'{a.value}' is not a valid register on this architecture ({st.env.arch})",
            suggest(a.value, known) or "registers: " + ", ".join(known),
        )
    e.type = UINT64.replace(space=st.ctx.space) if st.ctx.space else UINT64
    return e


def _kernel_address(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    per_cpu = e.name == "percpu_kaddr" and isinstance(a, ast.String) and st.final
    if per_cpu and st.btf is not None and st.btf.find(a.value, KIND_VAR) is None:  # type: ignore[attr-defined]
        st.error(e.span, f'Could not resolve variable "{a.value}" from BTF')  # type: ignore[attr-defined]
    if e.name == "kaddr" and isinstance(a, ast.String) and st.final:
        functions = getattr(st.env.catalogue, "functions", None)
        if functions is not None and functions.has_symbol(a.value) is False:
            st.error(e.span, f"Failed to resolve kernel symbol: {a.value}")
    e.type = UINT64.replace(space=KERNEL)
    return e


def _comm(st: State, e: ast.Call) -> ast.Expr:
    """comm(tid) finds the name in the task_struct, whose layout BTF tells."""
    if e.args and st.btf is None:
        st.error(e.span, "comm() of another thread needs the kernel's BTF", "use a kernel with CONFIG_DEBUG_INFO_BTF=y")
    return e


def _uaddr(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    assert isinstance(a, ast.String)
    if not a.value or not all(c.isalnum() or c in "./_-" for c in a.value):
        st.error(e.span, f'uaddr() expects a string that is a valid symbol as input ("{a.value}" provided)')
    size = 8
    sizes = getattr(st.env.catalogue, "symbol_size", None)
    if sizes is not None and st.ctx.target:
        size = sizes(st.ctx.target, a.value) or 8
    element = {1: UINT8, 2: UINT16, 4: UINT32}.get(size, UINT64)
    e.type = pointer(element, USER)
    return e


def _path(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and t.kind not in ("struct", "union", "pointer"):
        st.error(e.span, f"path() only supports pointer or C type argument ({kind_name(t)} provided)")
    size = _number_value(e, 1)
    if size is not None and size < 0:
        st.error(e.span, "path: invalid size value, need non-negative literal")
        size = None
    e.type = text(min(size, st.config.max_strlen) if size else st.config.max_strlen)
    return e


def _join(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and not is_number(t) and t.kind != "pointer":
        st.error(e.span, f"join() only supports int or pointer arguments ({kind_name(t)} provided)")
    return e


def _strftime(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 1)
    clock = "boot"
    if isinstance(a, ast.Call) and a.name == "nsecs" and a.args and isinstance(a.args[0], ast.Name):
        clock = a.args[0].name
    if clock == "monotonic":
        st.error(e.span, "strftime() can not take a monotonic timestamp")
    elif isinstance(a, ast.Integer) and a.value < 0:
        st.error(e.span, "strftime() does not accept negative timestamps")
    form = e.args[0]
    e.type = Type("timestamp", 8, mode=clock, name=form.value if isinstance(form, ast.String) else "")
    return e


def _strncmp(st: State, e: ast.Call) -> ast.Expr:
    n = _number_value(e, 2)
    if n is not None and n < 0:
        st.error(e.span, "Builtin strncmp requires a non-negative literal")
    return e


def _memcmp(st: State, e: ast.Call) -> ast.Expr:
    for i in (0, 1):
        t = _type(e, i)
        if t is not UNKNOWN and t.kind not in (
            "string",
            "array",
            "buffer",
            "pointer",
            "struct",
            "union",
            "tuple",
            "record",
        ):
            st.error(e.span, f"memcmp() does not compare {kind_name(t)}")
    n = _number_value(e, 2)
    if n is not None and n < 0:
        st.error(e.span, "memcmp() requires a non-negative literal")
    return e


def _text_function(st: State, e: ast.Call) -> ast.Expr:
    """strlen, strcap, str_concat: of strings, character arrays and pointers."""
    for i in range(len(e.args)):
        t = _type(e, i)
        if t is not UNKNOWN and not is_text(t):
            st.error(e.span, f"{e.name}(): string-like values must be either strings, arrays or pointers, found {t}")
    if e.name == "str_concat":
        e.type = text(st.config.text_size)
    elif e.name == "strcap" and _type(e, 0).kind in ("string", "array"):
        if not (st.settling or st.final):
            st.unsettled = True
            return e
        t = _type(e, 0)
        st.settled.append((_arg(e, 0), _arg(e, 0).type))
        return expr(st, ast.Integer(e.span, t.count if t.kind == "array" else t.size))
    return e


def _task(st: State, e: ast.Call) -> ast.Expr:
    """ppid(task) and kin: the argument must point to a task."""
    given = _type(e, 0)
    wanted = task_struct(st)
    if given is not UNKNOWN and not is_number(given) and (wanted is None or promote(wanted, given) is None):
        st.error(e.span, f"{e.name}() expects a pointer to struct task_struct ({given} provided)")
    return e


def _signal(st: State, e: ast.Call) -> ast.Expr:
    a, t = _arg(e, 0), _type(e, 0)
    if isinstance(a, ast.String):
        number = signal_number(a.value)
        if number is None:
            st.error(e.span, f"Invalid string for signal: {a.value}", suggest(a.value, _signals()))
            return e
        e.args[0] = expr(st, ast.Integer(a.span, number))
    elif isinstance(a, ast.Integer):
        if not 1 <= a.value <= 64:
            st.error(e.span, f"{e.name}() accepts a string literal or an integer between 1 and 64 (inclusive)")
    elif t is not UNKNOWN and not is_number(t):
        st.error(e.span, f"{e.name}() accepts a string literal or an integer")
    return e


def _signals() -> dict[str, int]:
    import signal

    return {s.name: int(s) for s in signal.Signals}


def signal_number(name: str) -> int | None:
    """SIGUSR1 or USR1 -> 10."""
    known = _signals()
    return known.get(name) or known.get("SIG" + name)


def _socket_cookie(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and (t.element is None or t.element.kind != "struct" or t.element.name != "sock"):
        st.error(e.span, f"socket_cookie() only supports 'struct sock *' as the argument ('{t}' provided)")
    return e


def _is_err(st: State, e: ast.Call) -> ast.Expr:
    t = _type(e, 0)
    if t is not UNKNOWN and t.kind not in ("pointer", "int"):
        st.error(e.span, f"is_err() expects a pointer ({t} provided)")
    return e


def _assert(st: State, e: ast.Call) -> ast.Expr:

    e.args[0] = condition(st, _arg(e, 0))
    return e


def _kfunc(st: State, e: ast.Call) -> ast.Expr:
    a = _arg(e, 0)
    known = st.btf is not None and isinstance(a, ast.String) and st.btf.find(a.value, KIND_FUNC) is not None
    return literal_bool(e, known)


def _cgroupid(st: State, e: ast.Call) -> ast.Expr:
    """The id of a cgroup is its directory's inode number; only a compile on the traced machine can know it."""
    a = _arg(e, 0)
    assert isinstance(a, ast.String)
    import os

    try:
        number = os.stat(a.value).st_ino
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        st.error(e.span, f"Failed to read the id of cgroup {a.value}: {reason}")
        return e
    constant = ast.Integer(e.span, number, declared=UINT64)
    constant.type = UINT64
    return constant


HANDLERS: dict[str, Callable[[State, ast.Call], ast.Expr]] = {
    "str": _str,
    "buf": _buf,
    "ksym": _symbol,
    "usym": _symbol,
    "kptr": _space,
    "uptr": _space,
    "bswap": _bswap,
    "ntop": _ntop,
    "pton": _pton,
    "macaddr": _macaddr,
    "reg": _reg,
    "kaddr": _kernel_address,
    "percpu_kaddr": _kernel_address,
    "uaddr": _uaddr,
    "comm": _comm,
    "path": _path,
    "join": _join,
    "strftime": _strftime,
    "strncmp": _strncmp,
    "memcmp": _memcmp,
    "strlen": _text_function,
    "strcap": _text_function,
    "str_concat": _text_function,
    "ppid": _task,
    "pcomm": _task,
    "leader_comm": _task,
    "leader_tid": _task,
    "signal": _signal,
    "signal_thread": _signal,
    "socket_cookie": _socket_cookie,
    "is_err": _is_err,
    "assert": _assert,
    "kfunc_exist": _kfunc,
    "kfunc_allowed": _kfunc,
    "cgroupid": _cgroupid,
}
