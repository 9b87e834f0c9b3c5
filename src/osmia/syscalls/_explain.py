"""What an errno of bpf(2) and perf_event_open(2) means, and what helps. Imported only when something failed."""

from __future__ import annotations

import os

from ..errors import KernelError, PermissionDenied
from ._caps import effective_capabilities, lockdown, sysctl

_COMMON = {
    1: "operation not permitted",
    2: "no such file, key or id",
    5: "input/output error",
    7: "too big: the map is full or an argument is too long",
    9: "bad file descriptor",
    11: "try again",
    12: "out of memory",
    13: "permission denied",
    14: "bad address",
    16: "busy: something else holds it",
    17: "exists already",
    19: "no such device",
    22: "invalid argument",
    24: "too many open files",
    28: "no space left",
    38: "this kernel was built without it",
    95: "not supported",
    524: "not supported",
    110: "timed out",
}
_HINTS = {
    12: "free memory, or raise the limit: ulimit -l unlimited",
    24: "raise the limit: ulimit -n 65536",
    38: "the kernel lacks CONFIG_BPF_SYSCALL or CONFIG_PERF_EVENTS",
}


def explain(operation: str, errno: int, detail: str = "", capability: str = "") -> KernelError:
    """The error to raise for `errno` of `operation`; `detail` names the object, `capability` what it needs."""
    what = f"{operation} {detail}".rstrip()
    if "(" in operation or "_" in operation:
        what = f"call {what}"  # a system call, not a verb such as open
    if errno in (1, 13):
        return _denied(operation, errno, what, capability)
    cause = _COMMON.get(errno) or os.strerror(errno).lower()
    return KernelError(f"{what}: {cause}", errno=errno, operation=operation, hint=_HINTS.get(errno, ""))


def needed_capability(operation: str) -> str:
    """The capability that `operation` asks for on kernels since 5.8."""
    if "perf" in operation or "PERF" in operation or "RAW_TRACEPOINT" in operation:
        return "CAP_PERFMON"
    if any(word in operation for word in ("_GET_NEXT_ID", "_GET_FD_BY_ID", "ENABLE_STATS", "mount", "TASK_FD_QUERY")):
        return "CAP_SYS_ADMIN"
    return "CAP_BPF"


def _denied(operation: str, errno: int, what: str, capability: str) -> PermissionDenied:
    wanted = capability or needed_capability(operation)
    held = effective_capabilities()
    if "CAP_SYS_ADMIN" not in held and wanted not in held:
        # Where the sysctl is 0, some maps and socket filters need no capability at all.
        disabled = sysctl("kernel.unprivileged_bpf_disabled") if wanted == "CAP_BPF" else 0
        also = f", and kernel.unprivileged_bpf_disabled is {disabled}" if disabled else ""
        return PermissionDenied(
            f"{what}: {wanted} is missing{also}",
            capability=wanted,
            errno=errno,
            operation=operation,
            hint=f"run it with sudo, or grant it: {grant_command(wanted)}",
        )
    mode = lockdown()
    if mode not in ("", "none"):
        return PermissionDenied(
            f"{what}: the kernel is locked down ({mode})",
            capability=wanted,
            errno=errno,
            operation=operation,
            hint="lockdown comes from secure boot or the boot option lockdown=; boot with lockdown=none",
        )
    # What was asked for is held. CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, not for CAP_NET_ADMIN.
    missing = next((c for c in ("CAP_SYS_ADMIN", "CAP_NET_ADMIN") if c not in held), "")
    if missing:
        cause = f"denied, and {missing} is missing"
        hint = f"run it with sudo, or grant it: {grant_command(missing)}"
    elif _in_user_namespace():
        # They can be held in the user namespace of a container, and do not count for bpf(2) there.
        cause, hint = "capabilities of a user namespace do not count", "run it in the initial user namespace"
    else:
        cause = "denied although all capabilities are held"
        hint = "a security module (SELinux, AppArmor) or a seccomp filter says no: dmesg | tail"
    return PermissionDenied(
        f"{what}: {cause}", capability=missing or wanted, errno=errno, operation=operation, hint=hint
    )


def _in_user_namespace() -> bool:
    try:
        with open("/proc/self/uid_map", "rb") as file:
            return file.read().split() != [b"0", b"0", b"4294967295"]
    except OSError:
        return False


def grant_command(capability: str) -> str:
    """A command that starts a shell of this user with what tracing needs, and `capability`."""
    names = ["cap_bpf", "cap_perfmon", capability.lower()]
    wanted = ",".join(dict.fromkeys(names))
    return f"sudo capsh --keep=1 --user=$USER --inh={wanted} --addamb={wanted} --"
