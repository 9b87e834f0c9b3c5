"""Builtins, and the program's context: registers, arguments, tracepoint records."""

from __future__ import annotations

from ....isa import PT_REGS
from .. import ast
from ..types import BPF, CONTEXT, KERNEL, UINT32, UINT64, USER, StructField, Type
from ._layout import size_of
from ._memory import at_offset, load_scalar, store, zero
from ._portable import move
from ._program import BUILTINS, CALLS, Program, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ARGUMENTS = {"x86_64": ("di", "si", "dx", "cx", "r8", "r9"), "aarch64": tuple(f"r{i}" for i in range(8))}
_RETURN = {"x86_64": "ax", "aarch64": "r0"}
_IP = {"x86_64": "ip", "aarch64": "pc"}
_STACK = {"x86_64": "sp", "aarch64": "sp"}
STRUCT = 4  # BTF_KIND_STRUCT
_REGS_PROVIDERS = (
    "kprobe", "kretprobe", "uprobe", "uretprobe", "usdt", "profile", "interval", "software", "hardware", "watchpoint",
)  # fmt: skip


def register(p: Program, name: str, node: ast.Node) -> str:
    offset = PT_REGS[p.features.arch].get(name)
    if offset is None:
        known = ", ".join(PT_REGS[p.features.arch])
        raise p.error(f"{name} is not a register of {p.features.arch}", node, f"it has {known}")
    if p.probe.provider not in _REGS_PROVIDERS:
        raise p.error(f"{p.probe.provider} probes have no registers", node)
    return p.f.load_context(p.context_pointer(), offset, 8)


def instruction_pointer(p: Program, node: ast.Node) -> str:
    return register(p, _IP[p.features.arch], node)


def _helper(number: int) -> Callable[[Program, ast.Name], Value]:
    def read(p: Program, e: ast.Name) -> Value:
        return Value(e.type, p.f.helper(number))

    return read


def _pid(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.op("lshr", pid_tgid(p), "32"))


def _tid(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.op("and", pid_tgid(p), str(0xFFFFFFFF)))


def pid_tgid(p: Program) -> str:
    """tgid << 32 | tid, as the process that runs the script sees them."""
    namespace = p.script.pid_namespace
    if namespace is None or not p.features.has("get_ns_current_pid_tgid"):
        return p.f.helper(14)
    f = p.f
    info = f.alloca(8)
    f.store("0", info)
    f.helper(120, str(namespace[0]), str(namespace[1]), f"ptr {info}", "8")
    tid, tgid = f.load(info, 4), f.load(f.gep(info, 4), 4)
    return f.op("or", f.op("shl", tgid, "32"), tid)


def _uid(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.op("and", p.f.helper(15), str(0xFFFFFFFF)))


def _gid(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.op("lshr", p.f.helper(15), "32"))


def _comm(p: Program, e: ast.Name) -> Value:
    to = p.f.alloca(16)
    p.f.helper(16, f"ptr {to}", "16")
    return Value(e.type, to, BPF, size=16, padded=True)


def _comm_call(p: Program, e: ast.Call) -> Value:
    """comm(task): the name of another task."""
    if not e.args:
        name = ast.Name(e.span, "comm")
        name.type = e.type
        return _comm(p, name)
    task = p.integer(e.args[0])  # type: ignore[arg-type]
    offset = _task_field(p, "comm", e)
    if e.args[0].type.kind != "pointer":  # type: ignore[union-attr]
        return _comm_of_thread(p, task, offset, e)
    return Value(e.type, move(p, task, offset), KERNEL, size=16)


def _comm_of_thread(p: Program, tid: str, offset: int, e: ast.Call) -> Value:
    """The name of the thread with a number, by the kernel function bpf_task_from_pid; "" when there is none."""
    if p.probe.provider not in ("fentry", "fexit", "iter") or p.features.version < (6, 2):
        raise p.error("comm() of a thread id works in fentry, fexit and iter probes, from Linux 6.2", e,
                      "comm without an argument names the running thread")  # fmt: skip
    f = p.f
    p.module.kfunc("bpf_task_from_pid", "ptr (i32)")
    p.module.kfunc("bpf_task_release", "void (ptr)")
    to = f.alloca(16)
    f.fill_zero(to, 16)
    task = f.call("bpf_task_from_pid", f"i32 {f.value(f'trunc i64 {tid} to i32')}", returns="ptr")
    found, done = f.label("task"), f.label("named")
    f.cond_br(f.is_null(task), done, found)
    f.start(found)
    f.helper(p.features.probe_read_str(False), f"ptr {to}", "16", move(p, f.to_int(task), offset))
    f.call("bpf_task_release", f"ptr {task}", returns="void")
    f.br(done)
    f.start(done)
    return Value(e.type, to, BPF, size=16, padded=True)


def _nsecs(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.helper(p.features.boot_clock))


def _nsecs_call(p: Program, e: ast.Call) -> Value:
    mode = e.args[0].name if e.args and isinstance(e.args[0], ast.Name) else "boot"
    if mode == "monotonic":
        return Value(e.type, p.f.helper(5))
    if mode == "tai":
        return Value(e.type, p.f.helper(_need(p, "ktime_get_tai_ns", e)))
    if mode == "sw_tai":
        offset = p.f.load(p.script.start_value(p, 8))
        return Value(e.type, p.f.op("add", p.f.helper(p.features.boot_clock), offset))
    return Value(e.type, p.f.helper(p.features.boot_clock))


def _need(p: Program, helper: str, node: ast.Node) -> int:
    if not p.features.has(helper):
        raise p.error(f"this needs Linux {p.features.since(helper)} or later (bpf_{helper})", node)
    return p.features.number(helper)


def _elapsed(p: Program, e: ast.Name) -> Value:
    start = p.f.load(p.script.start_value(p, 0))
    return Value(e.type, p.f.op("sub", p.f.helper(p.features.boot_clock), start))


def _cpid(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.load(p.script.start_value(p, 16)))


def _jiffies(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.helper(_need(p, "jiffies64", e)))


def _cpu(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.op("and", p.f.helper(8), str(0xFFFFFFFF)))


def _rand(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.op("and", p.f.helper(7), str(0xFFFFFFFF)))


def _ncpus(p: Program, e: ast.Name) -> Value:
    if p.script.options.portable:
        raise p.error("a portable object cannot know how many CPUs its machine will have", e)
    return Value(e.type, str(p.features.cpus))


def _ctx(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.to_int(p.context_pointer()))


def _task_field(p: Program, name: str, node: ast.Node) -> int:
    return kernel_member(p, "task_struct", name, node)


def kernel_member(p: Program, struct: str, name: str, node: ast.Node) -> int:
    """Byte offset of a member of one of the kernel's structs."""
    btf = p.script.btf(node)
    id = btf.find(struct, STRUCT)
    found = btf.field(id, name) if id is not None else None
    if id is None or found is None:
        raise p.error(f"the kernel's {struct} has no member {name}", node)
    if p.script.accesses is not None:
        return p.script.accesses.offset(p, Type("struct", name=struct, store="btf", type_id=id), (name,))
    return int(found[0]) // 8


def _parent(p: Program, node: ast.Node, args: list[ast.Expr | ast.TypeName]) -> Value:
    """task->real_parent of the current task, or of the task given."""
    task = p.integer(args[0]) if args and isinstance(args[0], ast.Expr) else p.f.helper(35)
    base = Value(Type("struct", 8), task, KERNEL)
    parent = load_scalar(p, base, _task_field(p, "real_parent", node), UINT64)
    return Value(Type("struct", 8), parent, KERNEL)


def _ppid(p: Program, e: ast.Name | ast.Call) -> Value:
    parent = _parent(p, e, e.args if isinstance(e, ast.Call) else [])
    return Value(e.type, load_scalar(p, parent, _task_field(p, "tgid", e), Type("int", 4, False)))


def _pcomm(p: Program, e: ast.Name | ast.Call) -> Value:
    parent = _parent(p, e, e.args if isinstance(e, ast.Call) else [])
    return Value(e.type, move(p, parent.reg, _task_field(p, "comm", e)), KERNEL, size=16)


def _task_number(field: str) -> Callable[[Program, ast.Call], Value]:
    """pid(task), tid(task): numbers of another task."""

    def read(p: Program, e: ast.Call) -> Value:
        mode = e.args[0].name if e.args and isinstance(e.args[0], ast.Name) else ""
        if mode == "init":
            word = p.f.helper(14)
            return Value(
                e.type, p.f.op("lshr", word, "32") if e.name == "pid" else p.f.op("and", word, str(0xFFFFFFFF))
            )
        if not e.args or not isinstance(e.args[0], ast.Expr) or e.args[0].type.kind not in ("pointer", "int"):
            name = ast.Name(e.span, e.name)
            name.type = e.type
            return BUILTINS[e.name](p, name)
        task = Value(Type("struct", 8), p.integer(e.args[0]), KERNEL)
        return Value(e.type, load_scalar(p, task, _task_field(p, field, e), Type("int", 4, False)))

    return read


def _leader(p: Program, e: ast.Name | ast.Call) -> Value:
    """leader_tid, leader_comm: the thread group's first thread."""
    base = Value(Type("struct", 8), p.f.helper(35), KERNEL)
    leader = load_scalar(p, base, _task_field(p, "group_leader", e), UINT64)
    if e.name == "leader_comm":
        return Value(e.type, move(p, leader, _task_field(p, "comm", e)), KERNEL, size=16)
    return Value(e.type, load_scalar(p, Value(base.type, leader, KERNEL), _task_field(p, "pid", e), UINT32))


def _usermode(p: Program, e: ast.Name) -> Value:
    if p.features.arch != "x86_64":
        raise p.error("usermode is known on x86-64 only", e)
    mode = p.f.op("and", register(p, "cs", e), "3")
    return Value(e.type, p.f.bool_to_int(p.f.icmp("ne", mode, "0")))


def _cgroup(p: Program, e: ast.Name) -> Value:
    return Value(e.type, p.f.helper(80))


def _func(p: Program, e: ast.Name) -> Value:
    """The traced function: a kernel or user symbol."""
    provider = p.probe.provider
    if provider in ("uprobe", "uretprobe", "usdt"):
        if provider == "uretprobe" and p.features.has("get_func_ip"):
            address = p.f.helper(173, f"ptr {p.context_pointer()}")
        else:
            address = register(p, _IP[p.features.arch], e)
        return user_symbol(p, address, e.type)
    if provider in ("fentry", "fexit", "kprobe", "kretprobe") and p.features.has("get_func_ip"):
        return Value(e.type, p.f.helper(173, f"ptr {p.context_pointer()}"))
    address = register(p, _IP[p.features.arch], e)
    if provider == "kprobe" and p.features.arch == "x86_64":
        address = p.f.op("sub", address, "1")  # the trap leaves ip after the breakpoint
    return Value(e.type, address)


def user_symbol(p: Program, address: str, t: Type) -> Value:
    """A usym value: the address and the process it belongs to."""
    f = p.f
    to = f.alloca(16)
    f.store(address, to)
    f.store(f.op("lshr", pid_tgid(p), "32"), f.gep(to, 8))
    return Value(t, to, BPF)


def _probe(p: Program, e: ast.Name) -> Value:
    names = p.probe.names
    if len(names) <= 1:
        return Value(e.type, str(p.script.probe_index(names[0] if names else "")))
    return Value(e.type, p.f.helper(174, f"ptr {p.context_pointer()}"))


def _retval(p: Program, e: ast.Name) -> Value:
    provider = p.probe.provider
    if provider in ("fexit",):
        count = len(p.probe.args.fields) if p.probe.args else 0
        value = p.f.load_context(p.context_pointer(), 8 * count, 8)
    else:
        value = register(p, _RETURN[p.features.arch], e)
    return Value(e.type, p.f.truncate(value, size_of(e.type), e.type.signed) if e.type.is_int else value)


def _arg(p: Program, e: ast.Name) -> Value:
    """argN (registers, or the context array of raw tracepoints), sargN (stack)."""
    provider, f = p.probe.provider, p.f
    number = int(e.name.lstrip("sarg"))
    if e.name.startswith("sarg"):
        stack = register(p, _STACK[p.features.arch], e)
        skip = 1 if p.features.arch == "x86_64" else 0
        where = f.op("add", stack, str(8 * (number + skip)))
        space = USER if provider in ("uprobe", "uretprobe") else KERNEL
        return Value(e.type, load_scalar(p, Value(e.type, where, space), 0, UINT64))
    if provider == "usdt":
        from ._usdt import argument

        return Value(e.type, argument(p, number, e))
    if provider in ("rawtracepoint", "fentry", "fexit"):
        return Value(e.type, f.load_context(p.context_pointer(), 8 * number, 8))
    return Value(e.type, function_argument(p, number, e))


def function_argument(p: Program, number: int, node: ast.Node) -> str:
    """Integer argument `number` of a function at its entry, by the calling convention."""
    names = _ARGUMENTS[p.features.arch]
    if number < len(names):
        return register(p, names[number], node)
    if p.features.arch != "x86_64":
        raise p.error(f"arg{number} is not in a register", node)
    stack = register(p, "sp", node)
    space = USER if p.probe.provider in ("uprobe", "uretprobe") else KERNEL
    where = p.f.op("add", stack, str(8 * (1 + number - len(names))))
    return load_scalar(p, Value(UINT64, where, space), 0, UINT64)


def _args(p: Program, e: ast.Name) -> Value:
    return Value(e.type, "", CONTEXT)


def context_member(p: Program, base: Value, field: StructField, e: ast.Member) -> Value:
    """`args.field`: where the field is depends on the kind of probe."""
    provider, f = p.probe.provider, p.f
    if provider == "iter":
        return _iterator_member(p, base, field)
    if e.operand.type.kind == "pointer" or not _is_args(e.operand):
        return _plain_member(p, base, field)
    if provider in ("fentry", "fexit", "rawtracepoint"):
        word = f.load_context(p.context_pointer(), field.offset, 8)
        return _argument_value(p, word, field.type)
    if provider in ("uprobe", "uretprobe"):
        return user_argument(p, field, e)
    if provider == "usdt":
        from ._usdt import argument

        return _argument_value(p, argument(p, field.offset // 8, e), field.type)
    if field.data_loc:
        return _data_loc(p, field, e)
    return _plain_member(p, base, field)


def user_argument(p: Program, field: StructField, node: ast.Node) -> Value:
    """An argument of a user function; `field.offset` is 8 * the first slot that it takes (`Arg.offset`)."""
    slot, size = field.offset // 8, size_of(field.type)
    if field.type.in_register or size <= 8:
        return _argument_value(p, function_argument(p, slot, node), field.type)
    registers = len(_ARGUMENTS[p.features.arch])
    if slot >= registers:  # by value on the stack: it can be read where it is
        stack = register(p, _STACK[p.features.arch], node)
        return Value(field.type, p.f.op("add", stack, str(8 * (1 + slot - registers))), USER)
    to = p.stack_or_scratch(-(-size // 8) * 8)
    for i in range(-(-size // 8)):
        p.f.store(function_argument(p, slot + i, node), p.f.gep(to, 8 * i))
    return Value(field.type, to, BPF)


def store_arguments(p: Program, to: str, t: Type) -> None:
    """Write all arguments of a user function to memory, as `args` has them: from registers and the stack."""
    zero(p, to, t.size)  # as a key, bytes between the arguments count
    node = ast.Name(p.probe.span, "args")
    for field in p.probe.args.fields if p.probe.args else ():
        store(p, user_argument(p, field, node), p.f.gep(to, field.offset), field.type)


def _iterator_member(p: Program, base: Value, field: StructField) -> Value:
    """`ctx.member` of an iterator. The kernel types it as a pointer that may be null, on which the verifier allows no
    arithmetic; as scripts read through it with bpf_probe_read_kernel, a plain number is what they need."""
    value = _plain_member(p, base, field)
    if not value.type.in_register:
        return value
    f = p.f
    slot = f.alloca(8)
    f.store(value.reg, slot)
    number = f.alloca(8)
    f.store("0", number)
    f.helper(p.features.probe_read(False), f"ptr {number}", "8", f.to_int(slot))
    return Value(value.type, f.load(number))


def _is_args(e: ast.Expr) -> bool:
    return isinstance(e, ast.Name | ast.Call) and e.name == "args"


def _plain_member(p: Program, base: Value, field: StructField) -> Value:
    if field.bits:
        from ._expr import load_bits

        return Value(field.type, load_bits(p, base, field.offset, field.type, field.bit_offset, field.bits))
    return at_offset(p, base, field.offset, field.type)


def _argument_value(p: Program, word: str, t: Type) -> Value:
    if t.in_register:
        return Value(t, p.f.truncate(word, size_of(t), t.signed) if t.is_int else word)
    if size_of(t) > 8:
        return Value(t, word, KERNEL)
    where = p.f.alloca(8)  # a struct of up to 8 bytes, passed by value
    p.f.store(word, where)
    return Value(t, where, BPF)


def _data_loc(p: Program, field: StructField, e: ast.Member) -> Value:
    """A tracepoint's dynamic array: the low 16 bits of its word are the offset from the record's start."""
    f = p.f
    word = f.load_context(p.context_pointer(), field.offset, 4)
    where = f.op("add", f.to_int(p.context_pointer()), f.op("and", word, "65535"))
    if e.type.in_register:  # a pointer to the data
        return Value(e.type, where)
    return Value(e.type, where, KERNEL)


def _reg(p: Program, e: ast.Call) -> Value:
    name = e.args[0]
    if not isinstance(name, ast.String):
        raise p.error("reg() takes the name of a register", e)
    return Value(e.type, register(p, name.value, e))


BUILTINS.update(
    {
        "pid": _pid,
        "tid": _tid,
        "uid": _uid,
        "username": _uid,
        "gid": _gid,
        "comm": _comm,
        "nsecs": _nsecs,
        "elapsed": _elapsed,
        "jiffies": _jiffies,
        "cpid": _cpid,
        "cpu": _cpu,
        "ncpus": _ncpus,
        "curtask": _helper(35),
        "rand": _rand,
        "numaid": _helper(42),
        "cgroup": _cgroup,
        "ctx": _ctx,
        "ppid": _ppid,
        "pcomm": _pcomm,
        "usermode": _usermode,
        "leader_tid": _leader,
        "leader_comm": _leader,
        "func": _func,
        "probe": _probe,
        "retval": _retval,
        "argN": _arg,
        "args": _args,
    }
)
CALLS.update(
    {
        "reg": _reg,
        "nsecs": _nsecs_call,
        "comm": _comm_call,
        "ppid": _ppid,
        "pcomm": _pcomm,
        "pid": _task_number("tgid"),
        "tid": _task_number("pid"),
    }
)
