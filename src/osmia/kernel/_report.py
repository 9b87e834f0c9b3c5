"""What `osmia doctor` tells: the kernel, what of it is set up, what this process may do."""

from __future__ import annotations

import os

from .. import syscalls
from .._data import Data
from ..errors import KernelError
from ._features import FEATURES, Answer, probe_feature


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


# capability: what does not work without it
_CAPABILITIES = {
    "CAP_BPF": "loading programs, creating maps",
    "CAP_PERFMON": "attaching to tracepoints, kprobes, uprobes and perf events; reading kernel memory",
    "CAP_NET_ADMIN": "XDP, tc and cgroup programs",
    "CAP_SYS_ADMIN": "uprobes, listing what others loaded, run statistics, mounting tracefs",
    "CAP_SYS_PTRACE": "symbols of other users' processes",
    "CAP_SYSLOG": "kernel addresses as names (kptr_restrict)",
    "CAP_DAC_READ_SEARCH": "reading tracefs when it is not yours",
    "CAP_SYS_RESOURCE": "raising the memory limit before Linux 5.11",
}


def report(features: bool = True) -> Report:
    """Look at this machine. With `features`, some 100 tiny programs and maps are tried, in about 0.2 s."""
    uname = os.uname()
    checks = [_version(), _btf(), _tracefs(), _bpffs(), *_capabilities(), *_sysctls(), _lockdown(), _jit()]
    answers = tuple(probe_feature(name) for name in FEATURES) if features else ()
    return Report(uname.release, uname.machine, tuple(checks), answers)


def _version() -> Check:
    version = ".".join(map(str, syscalls.kernel_version()))
    if syscalls.kernel_version() < (5, 4, 0):
        return Check("kernel", "fail", version, "Osmia needs Linux 5.4 or newer")
    return Check("kernel", "ok", version)


def _btf() -> Check:
    path = "/sys/kernel/btf/vmlinux"
    if os.access(path, os.R_OK):
        return Check("kernel BTF", "ok", f"{os.stat(path).st_size} bytes")
    if os.path.exists(path):
        return Check("kernel BTF", "fail", "not readable", "field offsets cannot be found", f"sudo chmod a+r {path}")
    return Check("kernel BTF", "fail", "missing", "the kernel was built without CONFIG_DEBUG_INFO_BTF=y")


def _tracefs() -> Check:
    try:
        path = syscalls.tracefs()
    except KernelError as error:
        return Check(
            "tracefs",
            "fail",
            str(error),
            "tracepoints cannot be attached",
            "sudo mount -t tracefs nodev /sys/kernel/tracing",
        )
    if path.startswith("/proc/"):
        return Check("tracefs", "ok", "not mounted; a private mount is used")
    return Check("tracefs", "ok", path)


def _bpffs() -> Check:
    with open("/proc/self/mounts") as file:
        mounts = [line.split()[1] for line in file if line.split()[2] == "bpf"]
    if mounts:
        return Check("bpffs", "ok", mounts[0])
    return Check("bpffs", "warn", "not mounted", "only pinning needs it", "sudo mount -t bpf bpffs /sys/fs/bpf")


def _capabilities() -> list[Check]:
    checks = []
    for name, use in _CAPABILITIES.items():
        if syscalls.has_capability(name):
            checks.append(Check(name, "ok", "held"))
        else:
            state = "fail" if name in ("CAP_BPF", "CAP_PERFMON") else "warn"
            checks.append(Check(name, state, "missing", f"without it: no {use}", syscalls.grant_command(name)))
    return checks


def _sysctls() -> list[Check]:
    checks = []
    value = syscalls.sysctl("kernel.unprivileged_bpf_disabled")
    checks.append(
        Check("unprivileged_bpf_disabled", "ok", str(value), {0: "anyone may load socket filters"}.get(value or 0, ""))
    )
    value = syscalls.sysctl("kernel.perf_event_paranoid")
    privileged = syscalls.has_capability("CAP_PERFMON")
    if value is not None and value > 1 and not privileged:
        checks.append(
            Check("perf_event_paranoid", "warn", str(value), "no kernel events without CAP_PERFMON",
                  "sudo sysctl kernel.perf_event_paranoid=1")
        )  # fmt: skip
    else:
        checks.append(Check("perf_event_paranoid", "ok", str(value)))
    value = syscalls.sysctl("kernel.kptr_restrict")
    if value == 2 or (value == 1 and not syscalls.has_capability("CAP_SYSLOG")):
        checks.append(
            Check("kptr_restrict", "warn", str(value), "kernel addresses cannot be turned into names",
                  "sudo sysctl kernel.kptr_restrict=1")
        )  # fmt: skip
    else:
        checks.append(Check("kptr_restrict", "ok", str(value)))
    return checks


def _lockdown() -> Check:
    mode = syscalls.lockdown()
    if mode == "confidentiality":
        return Check("lockdown", "fail", mode, "programs may not read kernel memory", "boot with lockdown=integrity")
    return Check("lockdown", "ok", mode or "none")


def _jit() -> Check:
    value = syscalls.sysctl("net.core.bpf_jit_enable")
    if value == 0:
        return Check(
            "JIT", "warn", "off", "programs are interpreted, many times slower", "sudo sysctl net.core.bpf_jit_enable=1"
        )
    return Check("JIT", "ok", "on" if value else "always on")
