"""Helpers about time, chance, the CPU and the current task: the machine's world answers."""

from __future__ import annotations

from ._helpers_arguments import clear, room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

_EINVAL, _EPERM, _ESRCH = 22, 1, 3
_U32 = 0xFFFFFFFF
_COARSE = 4_000_000  # a tick of CONFIG_HZ=250


def ktime_get_ns(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.monotonic()


def ktime_get_boot_ns(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.boottime()


def ktime_get_coarse_ns(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    now = m.world.monotonic()
    return now - now % _COARSE if m.world.is_live else now


def ktime_get_tai_ns(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.tai()


def jiffies64(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    hz = m.world.jiffies_hz
    # INITIAL_JIFFIES: the counter starts five minutes before it wraps in 32 bits
    return (m.world.monotonic() * hz // 1_000_000_000 + (-300 * hz & _U32)) & 0xFFFFFFFFFFFFFFFF


def get_prandom_u32(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.random32()


def get_smp_processor_id(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.cpu


def get_numa_node_id(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.numa_node


def get_current_pid_tgid(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return (m.world.tgid & _U32) << 32 | m.world.pid & _U32


def get_current_uid_gid(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return (m.world.gid & _U32) << 32 | m.world.uid & _U32


def get_current_comm(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    size = r2 & _U32
    if not r1 or not size:
        return -_EINVAL
    # strscpy_pad: always NUL-terminated, the rest zeros
    room(m, r1, size)
    m.write(r1, m.world.comm[: min(size - 1, 15)].ljust(size, b"\0"))
    return 0


def get_current_cgroup_id(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.cgroup_id


def get_current_ancestor_cgroup_id(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    level = r1 & _U32
    path = (*m.world.ancestors, m.world.cgroup_id)
    return path[level] if level < len(path) else 0


def get_ns_current_pid_tgid(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """struct bpf_pidns_info {u32 pid, u32 tgid}; 8 bytes zeroed on failure."""
    size = r4 & _U32
    if size != 8:
        clear(m, r3, size)
        return -_EINVAL
    namespace = m.world.pid_namespace
    if namespace != (0, 0) and (r1, r2) != namespace:
        m.write(r3, bytes(8))
        return -_EINVAL
    m.write(r3, (m.world.pid & _U32).to_bytes(4, "little") + (m.world.tgid & _U32).to_bytes(4, "little"))
    return 0


def _send_signal(m: Machine, number: int, thread: bool) -> int:
    """To the traced process if the machine can do that, else only noted in `machine.data["signals"]`."""
    if not 0 <= number <= 64:
        return -_EINVAL
    m.data.setdefault("signals", []).append((m.world.pid if thread else m.world.tgid, number))
    send = getattr(m.process, "send_signal", None)
    if send is not None:
        result = send(number, thread)
        return int(result) if result is not None else 0
    return 0


def send_signal(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _send_signal(m, r1 & _U32, False)


def send_signal_thread(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _send_signal(m, r1 & _U32, True)


def get_attach_cookie(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return int(m.data.get("cookie", 0))


def get_func_ip(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return int(m.data.get("func_ip", 0))


TABLE: dict[str, Helper] = {
    "ktime_get_ns": ktime_get_ns,
    "ktime_get_boot_ns": ktime_get_boot_ns,
    "ktime_get_coarse_ns": ktime_get_coarse_ns,
    "ktime_get_tai_ns": ktime_get_tai_ns,
    "jiffies64": jiffies64,
    "get_prandom_u32": get_prandom_u32,
    "get_smp_processor_id": get_smp_processor_id,
    "get_numa_node_id": get_numa_node_id,
    "get_current_pid_tgid": get_current_pid_tgid,
    "get_current_uid_gid": get_current_uid_gid,
    "get_current_comm": get_current_comm,
    "get_current_cgroup_id": get_current_cgroup_id,
    "get_current_ancestor_cgroup_id": get_current_ancestor_cgroup_id,
    "get_ns_current_pid_tgid": get_ns_current_pid_tgid,
    "send_signal": send_signal,
    "send_signal_thread": send_signal_thread,
    "get_attach_cookie": get_attach_cookie,
    "get_func_ip": get_func_ip,
}
