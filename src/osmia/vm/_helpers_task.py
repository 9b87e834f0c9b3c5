"""The current task as a struct, stacks, and arguments of traced functions.

`task_struct` is an image with pid, tgid, comm and what else is known at the offsets of the running kernel's BTF, and
zeros elsewhere. Stacks come from `machine.data["stack"]`: a function (user: bool) -> list of addresses, or None.
"""

from __future__ import annotations

from ..errors import NotSupported, OsmiaError
from ..isa.map_types import STACK_TRACE
from ._helpers_arguments import clear, map_of, room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine
    from ._map_stack import StackTraceMap

EINVAL, EFAULT, EOVERFLOW, EOPNOTSUPP = 22, 14, 75, 95
_U32 = 0xFFFFFFFF
_SKIP, _USER, _BUILD_ID = 0xFF, 0x100, 0x800
_FIELDS = ("pid", "tgid", "comm", "group_leader", "real_parent", "parent", "start_time", "start_boottime")
_MOST = 64  # images at a time


class TaskImages:
    """Images of tasks, one per pid; the oldest makes room."""

    def __init__(self, machine: Machine) -> None:
        from ..btf import KIND_STRUCT, load_kernel_btf

        try:
            btf = load_kernel_btf()
            try:
                task = btf.find("task_struct", KIND_STRUCT)
                if task is None:
                    raise KeyError("task_struct")
                self.size = (btf.size_of(task) + 63) & ~63
                fields = {name: btf.field(task, name) for name in _FIELDS}
            finally:
                btf.close()
            self.offsets = {name: place[0] // 8 for name, place in fields.items() if place is not None}
        except (OsmiaError, OSError, KeyError) as error:
            raise NotSupported(
                f"make a task_struct: the kernel's BTF cannot be read: {error}",
                feature="task_struct",
                hint="use bpf_get_current_pid_tgid and bpf_get_current_comm",
            ) from None
        self._region = machine.memory.allocate(self.size * _MOST, "task_struct", writable=False)
        self.addresses: dict[int, int] = {}
        self._next = 0

    def address(self, m: Machine) -> int:
        """The image of the world's current task, with what the world says now."""
        w = m.world
        at = self._place(w.pid)
        leader = at if w.pid == w.tgid else self._place(w.tgid)
        parent = self._place(w.ppid) if w.ppid else 0
        self._fill(at, w.pid, w.tgid, w.comm, leader, parent, w.start_time)
        if leader != at:
            self._fill(leader, w.tgid, w.tgid, w.comm, leader, parent, w.start_time)
        if parent not in (0, at, leader):
            self._fill(parent, w.ppid, w.ppid, w.parent_comm, parent, 0, 0)
        return at

    def _place(self, pid: int) -> int:
        found = self.addresses.get(pid)
        if found is None:
            found = self._region.base + self._next % _MOST * self.size
            self._next += 1
            for old in [p for p, a in self.addresses.items() if a == found]:
                del self.addresses[old]
                at = found - self._region.base
                self._region.view[at : at + self.size] = bytes(self.size)
            self.addresses[pid] = found
        return found

    def _fill(self, at: int, pid: int, tgid: int, comm: bytes, leader: int, parent: int, start: int) -> None:
        view, base = self._region.view, at - self._region.base
        values = {
            "pid": pid.to_bytes(4, "little"),
            "tgid": tgid.to_bytes(4, "little"),
            "group_leader": leader.to_bytes(8, "little"),
            "real_parent": parent.to_bytes(8, "little"),
            "parent": parent.to_bytes(8, "little"),
            "start_time": start.to_bytes(8, "little"),
            "start_boottime": start.to_bytes(8, "little"),
        }
        if comm:
            values["comm"] = comm[:15].ljust(16, b"\0")
        for name, data in values.items():
            offset = self.offsets.get(name)
            if offset is not None:
                view[base + offset : base + offset + len(data)] = data


def pid_of(m: Machine, address: int) -> int:
    """The pid of the task whose image is at `address`, 0 when it is none."""
    images = m.data.get("tasks")
    if images is None:
        return 0
    return next((pid for pid, at in images.addresses.items() if at == address), 0)


def get_current_task(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if m.world.task:
        return m.world.task
    images = m.data.get("tasks")
    if images is None:
        images = m.data["tasks"] = TaskImages(m)
    address: int = images.address(m)
    return address


def task_pt_regs(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The registers of the event, if its context are registers; `machine.data["regs"]` overrides."""
    return int(m.data.get("regs", m.context))


def _stack(m: Machine, flags: int) -> list[int] | None:
    source = m.data.get("stack")
    if source is None:
        return None
    found = source(bool(flags & _USER))
    return None if found is None else list(found)


def get_stackid(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found: StackTraceMap = map_of(m, r2, STACK_TRACE)
    return found.stack_id(_stack(m, r3), r3)


def _get_stack(m: Machine, to: int, size: int, flags: int) -> int:
    size &= _U32
    each = 32 if flags & _BUILD_ID else 8
    result = 0
    if flags & ~(_SKIP | _USER | _BUILD_ID) or (flags & _BUILD_ID and not flags & _USER) or size % each:
        result = -EINVAL
    stack = _stack(m, flags) if not result else None
    skip = flags & _SKIP
    if not result and (stack is None or len(stack) < skip):
        result = -EFAULT
    if result or stack is None:
        clear(m, to, size)
        return result
    room(m, to, size)
    taken = stack[skip : skip + size // each]
    if flags & _BUILD_ID:
        data = b"".join((2).to_bytes(4, "little") + bytes(20) + ip.to_bytes(8, "little") for ip in taken)
    else:
        data = b"".join(ip.to_bytes(8, "little") for ip in taken)
    m.write(to, data.ljust(size, b"\0"))
    return len(data)


def get_stack(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _get_stack(m, r2, r3, r4)


def get_task_stack(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _get_stack(m, r2, r3, r4)


def get_func_arg(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """ctx, n, u64 *value: `machine.data["func_args"]` says how many there are (6 when it does not)."""
    index = r2 & _U32
    if index >= int(m.data.get("func_args", 6)):
        return -EINVAL
    m.memory.store(r3, 8, m.memory.load(r1 + 8 * index, 8))
    return 0


def get_func_ret(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The word behind the arguments, of programs that run at a function's end."""
    if "func_ret" not in m.data:
        return -EOPNOTSUPP
    m.memory.store(r2, 8, int(m.data["func_ret"]))
    return 0


def get_func_arg_cnt(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return int(m.data.get("func_args", 6))


def d_path(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The path that `machine.data["paths"]` has for the address."""
    found = m.data.get("paths", {}).get(r1)
    size = r3 & _U32
    if not size:
        return 0
    if found is None:
        return -EINVAL
    text = (found.encode() if isinstance(found, str) else found) + b"\0"
    if len(text) > size:
        return -36  # ENAMETOOLONG
    m.write(r2, text)
    return len(text)


def _seq(m: Machine, data: bytes) -> int:
    found: bytearray = m.data.setdefault("seq", bytearray())
    if len(found) + len(data) > m.memory.limit - m.memory.used:
        return -EOVERFLOW
    found += data
    return 0


def seq_write(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """To the output of the iterator: `machine.data["seq"]`, a bytearray."""
    return _seq(m, m.read(r2, r3 & _U32))


def seq_printf(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    from ._helpers_print import format_text, words

    arguments = words(m, r4, r5 & _U32)
    if isinstance(arguments, int):
        return arguments
    text = m.read(r2, r3 & _U32)
    if b"\0" not in text:
        return -EINVAL
    made = format_text(m, text[: text.index(b"\0")], arguments)
    if isinstance(made, int):
        return made
    return _seq(m, made)


TABLE: dict[str, Helper] = {
    "get_current_task": get_current_task,
    "get_current_task_btf": get_current_task,
    "task_pt_regs": task_pt_regs,
    "get_stackid": get_stackid,
    "get_stack": get_stack,
    "get_task_stack": get_task_stack,
    "get_func_arg": get_func_arg,
    "get_func_ret": get_func_ret,
    "get_func_arg_cnt": get_func_arg_cnt,
    "d_path": d_path,
    "seq_write": seq_write,
    "seq_printf": seq_printf,
}
