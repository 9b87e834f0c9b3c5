"""Builtins that are names: pid, comm, args, retval, arg0, curtask, kstack, ..."""

from __future__ import annotations

from . import _check_access, _check_expr, ast, fold
from ._check_expr import literal_bool
from ._check_names import struct_type, suggest
from ._check_state import State
from ._check_types import UNKNOWN, integer
from .builtins import MAX_STACK, MAX_STACK_LIMIT, REGISTERS, STACK_MODES, TABLE, is_argument
from .types import CONTEXT, KERNEL, UINT8, UINT64, VOID, StructField, Type, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._check_state import Context
    from .checked import Config

# Integer arguments that are passed in registers.
REGISTER_ARGUMENTS = {"x86_64": 6, "aarch64": 8}
# Read from the task_struct, whose layout BTF tells.
TASK_FIELDS = ("ppid", "pcomm", "leader_comm", "leader_tid")
# `args` of these live in registers or a context array and cannot be reached from a loop's callback.
_SPECIAL = ("begin", "end", "self")


def builtin(st: State, e: ast.Name) -> ast.Expr:
    """Type a builtin that is written as a name."""
    name = e.name
    st.ctx.uses.add(name)
    if is_argument(name):
        return _argument(st, e)
    row = TABLE[name]
    if row.probes and st.ctx.provider not in row.probes:
        st.error(e.span, _wrong_probe(name, st.ctx.provider))
        e.type = UNKNOWN
        return e
    if row.returns is not None:
        e.type = row.returns
        if name in TASK_FIELDS and st.btf is None:
            st.error(e.span, f"{name} needs the kernel's BTF", "use a kernel with CONFIG_DEBUG_INFO_BTF=y")
        if name == "has_cpid":
            return literal_bool(e, st.env.cpid != 0)
        if name == "usermode":
            return _usermode(st, e)
        if st.loops and name == "retval":
            _not_in_loop(st, e)
        return e
    return _NAMES[name](st, e)


def _usermode(st: State, e: ast.Name) -> ast.Expr:
    """Only probes that interrupt code see its registers; `begin` runs on behalf of the tracer itself."""
    if st.env.arch != "x86_64":
        st.error(e.span, "'usermode' builtin is only supported on x86_64")
    if st.ctx.provider in REGISTERS:
        return e
    constant = ast.Integer(e.span, int(st.ctx.provider in _SPECIAL), declared=UINT8)
    constant.type = UINT8
    return constant


def _wrong_probe(name: str, provider: str) -> str:
    if name == "retval":
        hint = " (try to use args.ret instead)" if provider == "tracepoint" else ""
        return f"The retval builtin can only be used with 'kretprobe' and 'uretprobe' and 'fentry' probes{hint}"
    if name == "args":
        return (
            "The args builtin can only be used with tracepoint, rawtracepoint, fentry/fexit, and uprobe probes "
            f"({provider} used here)"
        )
    if name == "ctx" and provider == "tracepoint":
        return "Use args instead of ctx in tracepoint"
    return f"The {name} builtin can not be used with '{provider}' probes"


def _not_in_loop(st: State, e: ast.Name) -> None:
    st.error(e.span, f"'{e.name}' builtin is not allowed in a for-loop", "assign it to a variable before the loop")


def _argument(st: State, e: ast.Name) -> ast.Expr:
    provider = st.ctx.provider
    e.type = UINT64.replace(space=st.ctx.space) if st.ctx.space else UINT64
    if provider not in TABLE["arg0"].probes:
        st.error(
            e.span, f"The {e.name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes",
            "use args" if provider in TABLE["args"].probes else "",
        )  # fmt: skip
        return e
    number = int(e.name[3:])
    limit = REGISTER_ARGUMENTS.get(st.env.arch, 6)
    if provider in ("kprobe", "uprobe") and number >= limit:
        st.error(
            e.span, f"{st.env.arch} doesn't support {e.name}", f"arguments from number {limit} on are on the stack"
        )
    elif provider == "rawtracepoint" and number > 11:
        st.error(e.span, f"a raw tracepoint has at most 12 arguments: {e.name}")
    elif provider == "usdt" and st.ctx.usdt_count >= 0 and number >= st.ctx.usdt_count:
        st.error(e.span, f"{st.ctx.probe_name} has {st.ctx.usdt_count} arguments, no {e.name}")
    if st.loops:
        _not_in_loop(st, e)
    return e


# ---------------------------------------------------------------- args, retval, ctx


def _args(st: State, e: ast.Name) -> ast.Expr:
    ctx = st.ctx
    if ctx.args_type is None:
        message = ctx.args_error or "Cannot read function parameters"
        if ctx.provider in ("fentry", "fexit") and ctx.target == "bpf":
            message = "The args builtin cannot be used for 'fentry/fexit:bpf' probes"
        st.error(e.span, message, _args_hint(ctx))
        e.type = UNKNOWN
        return e
    e.type = ctx.args_type
    if st.loops and st.final:
        _not_in_loop(st, e)
    return e


def _args_hint(ctx: Context) -> str:
    if ctx.provider not in ("uprobe", "uretprobe"):
        return "osmia list -v shows the arguments of a probe"
    if ctx.unreadable:
        return "copy it to a variable of the program that has an address, or probe where it is an integer"
    return "types come from debug information: compile with -g, or use arg0, arg1, ..."


def argument_field(st: State, e: ast.Member) -> StructField | None:
    """A field of `args`."""
    args = st.ctx.args
    assert args is not None
    for f in args.fields:
        if f.name == e.name:
            if st.ctx.provider == "tracepoint" and f.offset < 8 and not f.data_loc:
                st.error(e.span, "BPF does not support accessing common tracepoint fields")
            if f.type.kind in ("void", "none"):
                st.error(e.span, f"{e.name} has unsupported type")
                return None
            return f
    if st.final:
        if e.name in st.ctx.unreadable:
            st.error(e.span, f"Cannot read function parameter {e.name}: {st.ctx.unreadable[e.name]}")
            return None
        names = [f.name for f in args.fields]
        near = suggest(e.name, names)
        listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        if st.ctx.provider == "tracepoint":
            message = f"Struct/union of type '{args.name}' does not contain a field named '{e.name}'"
        else:
            message = f"Can't find function parameter {e.name}"
        st.error(e.span, message, near or (f"fields are {listed}" if names else "the probe has no arguments"))
    return None


def _retval(st: State, e: ast.Name) -> ast.Expr:
    e.type = st.ctx.retval or (UINT64.replace(space=st.ctx.space) if st.ctx.space else UINT64)
    if e.type.kind == "void":
        st.error(e.span, f"{st.ctx.probe_name} returns nothing")
        e.type = UNKNOWN
    if st.loops:
        _not_in_loop(st, e)
    return e


def _ctx(st: State, e: ast.Name) -> ast.Expr:
    provider = st.ctx.provider
    if provider == "iter":
        t = struct_type(st, "struct", f"bpf_iter__{st.ctx.function}")
    elif provider in ("kprobe", "kretprobe", "uprobe", "uretprobe", "usdt"):
        t = struct_type(st, "struct", "pt_regs")
    else:
        t = struct_type(st, "struct", "bpf_perf_event_data")
    e.type = pointer(t.replace(space=CONTEXT) if t else VOID, CONTEXT)
    if st.loops:
        _not_in_loop(st, e)
    return e


def _curtask(st: State, e: ast.Name) -> ast.Expr:
    t = task_struct(st)
    e.type = t if t is not None else integer(8, False, KERNEL)
    return e


def task_struct(st: State) -> Type | None:
    """Pointer to the kernel's task_struct, None without BTF."""
    t = struct_type(st, "struct", "task_struct")
    return None if t is None else pointer(t, KERNEL)


def _func(st: State, e: ast.Name) -> ast.Expr:
    user = st.ctx.provider in ("uprobe", "uretprobe")
    e.type = Type("usym", 16) if user else Type("ksym", 8)
    return e


# ---------------------------------------------------------------- stacks


def _stack(st: State, e: ast.Name) -> ast.Expr:
    e.type = stack_type(st, e.name, st.config.stack_mode, MAX_STACK, e.span)
    return e


def stack_type(st: State, name: str, mode: str, limit: int, span: ast.Span, explicit: bool = False) -> Type:
    if mode not in STACK_MODES:
        mode = "bpftrace"
    if name == "kstack" and mode == "build_id":
        if explicit:
            st.error(span, "'build_id' stack mode can only be used for ustack")
        else:
            st.warn(span, "'build_id' stack mode can only be used for ustack. Falling back to 'raw' mode.")
        mode = "raw"
    return Type(name, 8 if name == "kstack" else 16, mode=mode, count=limit)


def stack_call(st: State, e: ast.Call) -> ast.Expr:
    """`kstack(perf, 5)`, `ustack(3)`."""
    mode, limit = st.config.stack_mode, MAX_STACK
    args = list(e.args)
    explicit = False
    first = args[0] if args else None
    if isinstance(first, ast.Name) and not (len(args) == 1 and first.name not in STACK_MODES and _is_number(st, first)):
        if first.name not in STACK_MODES:
            st.error(
                first.span,
                f"Error parsing stack mode: Invalid value for {e.name}: valid values are " + ", ".join(STACK_MODES),
                suggest(first.name, STACK_MODES),
            )
        else:
            mode, explicit = first.name, True
        first.type = Type("stack_mode", mode=mode)
        args.pop(0)
    elif len(args) == 2:
        st.error(e.span, "Expected stack mode as first argument", f"write {e.name}({mode}, 5)")
        args.pop(0)
    if args:
        index = len(e.args) - 1
        x = _check_expr.expr(st, args[0]) if isinstance(args[0], ast.Expr) else None
        if isinstance(x, ast.Integer) and x.value >= 0:
            limit = x.value
            e.args[index] = x
        elif x is None or x.type is not UNKNOWN:
            st.error(e.span, f"{e.name}: invalid limit value", "it must be a literal")
    if limit > MAX_STACK_LIMIT:
        st.error(e.span, f"{e.name}([int limit]): limit shouldn't exceed {MAX_STACK_LIMIT}, {limit} given")
    e.type = stack_type(st, e.name, mode, min(limit, MAX_STACK), e.span, explicit)
    return e


def _is_number(st: State, e: ast.Name) -> bool:
    from ._check_names import enumerator

    return enumerator(st, e.name) is not None


# ---------------------------------------------------------------- what is known when compiling


def _probe(st: State, e: ast.Name) -> ast.Expr:
    if st.ctx.split_by_name:
        return _check_expr.expr(st, fold.new_string(e.span, st.ctx.probe_name.encode()))
    e.type = Type("probe", 8)
    return e


def _probetype(st: State, e: ast.Name) -> ast.Expr:
    name = st.ctx.provider
    if name in _SPECIAL:
        name = "special"
    return _check_expr.expr(st, fold.new_string(e.span, name.encode()))


def _config(st: State, e: ast.Name) -> ast.Expr:
    return _check_expr.expr(st, config_record(st.config, e.span))


def config_record(config: Config, span: ast.Span) -> ast.RecordLiteral:
    items: list[ast.Expr] = []
    for name in config._fields:
        v = getattr(config, name)
        if isinstance(v, bool):
            items.append(ast.Boolean(span, v))
        elif isinstance(v, int):
            items.append(ast.Integer(span, v))
        else:
            items.append(fold.new_string(span, str(v).encode()))
    return ast.RecordLiteral(span, list(config._fields), items)


def _default_length(st: State, e: ast.Name) -> ast.Expr:
    return _check_expr.expr(st, ast.Integer(e.span, st.config.max_strlen))


_NAMES = {
    "args": _args,
    "retval": _retval,
    "ctx": _ctx,
    "curtask": _curtask,
    "func": _func,
    "kstack": _stack,
    "ustack": _stack,
    "probe": _probe,
    "probetype": _probetype,
    "config": _config,
    "default_str_length": _default_length,
}
_check_expr.BUILTIN = builtin
_check_access.ARGUMENT = argument_field
