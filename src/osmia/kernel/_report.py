"""What `osmia doctor` tells: the kernel, what of it is set up, what this process may do."""

from __future__ import annotations

import os

from .. import syscalls
from .._data import Data
from ..errors import KernelError
from ._features import FEATURES, Answer, probe_feature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Check(Data):
    """One line: `state` is "ok", "warn" or "fail"; `fix` is a command that helps, or empty."""

    name: str
    state: str
    value: str
    meaning: str = ""
    fix: str = ""


class Report(Data):
    """`checks` in the order to show them; `features` answers all of `FEATURES` (empty when not asked for)."""

    release: str
    machine: str
    checks: tuple[Check, ...]
    features: tuple[Answer, ...] = ()


# capability: what does not work without it, and whether that matters here
_CAPABILITIES: dict[str, tuple[str, Callable[[], bool]]] = {
    "CAP_BPF": ("loading programs, creating maps", lambda: True),
    "CAP_PERFMON": ("reading kernel memory; perf events", lambda: True),
    "CAP_NET_ADMIN": ("XDP, tc and cgroup programs", lambda: True),
    "CAP_SYS_ADMIN": ("listing what others loaded, run statistics, mounting tracefs", lambda: True),
    "CAP_SYS_PTRACE": ("symbols of other users' processes", lambda: not _maps_readable()),
    "CAP_SYSLOG": ("kernel addresses as names", lambda: not _addresses_shown(False)),
    "CAP_DAC_READ_SEARCH": ("reading tracefs, which is root's", lambda: not _tracefs_readable()),
    "CAP_SYS_RESOURCE": ("maps beyond the memory limit", lambda: syscalls.kernel_version() < (5, 11, 0)),
}


def _addresses_shown(privileged: bool) -> bool:
    """Whether /proc/kallsyms shows addresses to a process with or without CAP_SYSLOG (kallsyms_show_value)."""
    restrict, paranoid = syscalls.sysctl("kernel.kptr_restrict"), syscalls.sysctl("kernel.perf_event_paranoid")
    if restrict == 0 and paranoid is not None and paranoid <= 1:
        return True
    return privileged and restrict in (0, 1)


def _maps_readable() -> bool:
    """Whether what processes of other users map can be read: since 6.15 CAP_PERFMON does (may_access_mm)."""
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid != os.geteuid():
                with open(f"/proc/{name}/maps", "rb") as file:
                    if file.read(1):  # threads of the kernel map nothing
                        return True
        except OSError:
            continue  # it ended meanwhile, or is closed to us
    return False


def _tracefs_readable() -> bool:
    try:
        return os.access(syscalls.tracefs() + "/events", os.R_OK | os.X_OK)
    except KernelError as error:
        return error.errno != 13


def report(features: bool = True) -> Report:
    """Look at this machine. With `features`, some 100 tiny programs and maps are tried, in about 0.2 s."""
    uname = os.uname()
    checks = [_version(), _btf(), _tracefs(), _bpffs(), *_capabilities(), *_sysctls(), _lockdown(), _jit()]
    answers = tuple(probe_feature(name) for name in FEATURES) if features else ()
    return Report(uname.release, uname.machine, tuple(checks), answers)


def _version() -> Check:
    version = ".".join(map(str, syscalls.kernel_version()))
    if syscalls.kernel_version() < (5, 4, 0):
        return Check("kernel", "fail", version, "Osmia needs Linux 5.4 or newer", "uname -r; boot a newer kernel")
    return Check("kernel", "ok", version)


def _btf() -> Check:
    path = "/sys/kernel/btf/vmlinux"
    lost = "scripts cannot use kernel types: no fentry, no iter, no fields of kernel structs"
    if os.access(path, os.R_OK):
        return Check("kernel BTF", "ok", f"{os.stat(path).st_size} bytes")
    if os.path.exists(path):
        return Check("kernel BTF", "warn", "not readable", lost, f"sudo chmod a+r {path}")
    return Check("kernel BTF", "warn", "missing", lost, "boot a kernel that was built with CONFIG_DEBUG_INFO_BTF=y")


def _tracefs() -> Check:
    name = "tracefs"
    try:
        path = syscalls.tracefs()
    except KernelError as error:
        return Check(name, "fail", error.message.partition(": ")[2], "tracepoints cannot be attached", error.hint)
    if path.startswith("/proc/"):
        return Check(name, "ok", "not mounted; a private mount is used")
    return Check(name, "ok", path)


def _bpffs() -> Check:
    try:
        with open("/proc/self/mounts") as file:
            mounts = [line.split()[1] for line in file if line.split()[2] == "bpf"]
    except OSError:
        return Check("bpffs", "warn", "/proc is not mounted", "only pinning needs it", "sudo mount -t proc proc /proc")
    if mounts:
        return Check("bpffs", "ok", mounts[0])
    return Check("bpffs", "warn", "not mounted", "only pinning needs it", "sudo mount -t bpf bpffs /sys/fs/bpf")


def _capabilities() -> list[Check]:
    checks = []
    for name, (use, matters) in _CAPABILITIES.items():
        if syscalls.has_capability(name):
            checks.append(Check(name, "ok", "held"))
        elif not matters():
            checks.append(Check(name, "ok", "missing, but not needed here"))
        else:
            state = "fail" if name in ("CAP_BPF", "CAP_PERFMON") else "warn"
            if name == "CAP_SYS_ADMIN" and syscalls.kernel_version() < (6, 6, 0):
                use = f"uprobes, {use}"  # multi links do without
            checks.append(Check(name, state, "missing", f"without it: no {use}", syscalls.grant_command(name)))
    return checks


def _sysctls() -> list[Check]:
    value = syscalls.sysctl("kernel.unprivileged_bpf_disabled")
    checks = [
        Check("unprivileged_bpf_disabled", "ok", _shown(value), "" if value else "anyone may load socket filters")
    ]
    value = syscalls.sysctl("kernel.perf_event_paranoid")
    if value is not None and value > 1 and not syscalls.has_capability("CAP_PERFMON"):
        meaning, fix = "no kernel events without CAP_PERFMON", "sudo sysctl kernel.perf_event_paranoid=1"
        checks.append(Check("perf_event_paranoid", "warn", str(value), meaning, fix))
    elif value is not None and value > 2 and "CAP_SYS_ADMIN" not in syscalls.effective_capabilities():
        meaning = "above 2 kernels of distributions (Debian, Ubuntu) may take CAP_SYS_ADMIN for perf events"
        checks.append(
            Check("perf_event_paranoid", "warn", str(value), meaning, "sudo sysctl kernel.perf_event_paranoid=2")
        )
    else:
        checks.append(Check("perf_event_paranoid", "ok", _shown(value)))
    value = syscalls.sysctl("kernel.kptr_restrict")
    privileged = syscalls.has_capability("CAP_SYSLOG")
    if _addresses_shown(privileged) or value is None:
        return [*checks, Check("kptr_restrict", "ok", _shown(value))]
    fix = "sudo sysctl kernel.kptr_restrict=1" if privileged else syscalls.grant_command("CAP_SYSLOG")
    return [*checks, Check("kptr_restrict", "warn", str(value), "kernel addresses cannot be turned into names", fix)]


def _shown(value: int | None) -> str:
    return "not on this kernel" if value is None else str(value)


def _lockdown() -> Check:
    mode = syscalls.lockdown()
    if mode == "confidentiality":
        meaning = "programs may not read kernel memory: it comes from secure boot, or lockdown= at boot"
        return Check("lockdown", "fail", mode, meaning, "boot with lockdown=integrity")
    if not mode:
        return Check(
            "lockdown", "warn", "could not tell: securityfs is not mounted",
            "in mode confidentiality programs could not read kernel memory",
            "sudo mount -t securityfs none /sys/kernel/security",
        )  # fmt: skip
    return Check("lockdown", "ok", mode)


def _jit() -> Check:
    value = syscalls.sysctl("net.core.bpf_jit_enable")
    if value == 0:
        return Check(
            "JIT", "warn", "off", "programs are interpreted, many times slower", "sudo sysctl net.core.bpf_jit_enable=1"
        )
    return Check("JIT", "ok", "on" if value else "always on")
