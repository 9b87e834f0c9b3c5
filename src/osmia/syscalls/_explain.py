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
    missing, hint = wanted, ""
    name = _NAMES[errno]
    if not stands_for(wanted, held):
        cause = f"{wanted} is missing"
        if wanted in _FILES:
            # The operation is "open /path", or the path is the object of "open".
            path = what.partition(" ")[2]
            if not closed_by_mode(path, write=wanted == "CAP_DAC_OVERRIDE"):
                missing = ""
                cause, hint = (
                    f"the kernel refuses it ({name}), though not by the mode of the file",
                    suspects(held, operation),
                )
        elif wanted == "CAP_BPF" and (disabled := sysctl("kernel.unprivileged_bpf_disabled")):
            # Where it is 0, some maps and socket filters need no capability at all.
            cause += f", and kernel.unprivileged_bpf_disabled is {disabled}"
    elif in_user_namespace():
        # They can be held in the user namespace of a container, and do not count for bpf(2) there.
        missing = ""
        cause, hint = "capabilities of a user namespace do not count", "run it in the initial user namespace"
    else:
        missing = ""
        cause, hint = f"{wanted} is held, and the kernel refuses it all the same ({name})", suspects(held, operation)
    return PermissionDenied(
        f"{what}: {cause}",
        capability=missing,
        errno=errno,
        operation=operation,
        hint=hint or f"run it with sudo, or grant it: {grant_command(wanted)}",
    )


_NAMES = {1: "EPERM", 13: "EACCES"}
# Capabilities that open files; all others are asked of bpf(2) and perf_event_open(2).
_FILES = ("CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE")
# Capability -> what else the kernel takes for it: bpf_capable(), perfmon_capable() and bpf_net_capable() of
# linux/capability.h and kernel/bpf/syscall.c (5.8), generic_permission() of fs/namei.c. None stands for CAP_SYSLOG.
_STAND_INS = {
    "CAP_BPF": "CAP_SYS_ADMIN",
    "CAP_PERFMON": "CAP_SYS_ADMIN",
    "CAP_NET_ADMIN": "CAP_SYS_ADMIN",
    "CAP_DAC_READ_SEARCH": "CAP_DAC_OVERRIDE",
}
# What a shell for tracing may want, in the order of a command line.
_TRACING = (
    "CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE",
    "CAP_SYS_PTRACE", "CAP_SYSLOG", "CAP_SYS_RESOURCE",
)  # fmt: skip


def stands_for(wanted: str, held: frozenset[str]) -> bool:
    """Whether one of the capabilities `held` does for `wanted`."""
    return wanted in held or _STAND_INS.get(wanted, wanted) in held


def closed_by_mode(path: str, *, write: bool = False) -> str:
    """The part of `path` whose owner and mode keep this user out, when no capability helps; "" if none does.

    Directories need x, what is at the end r, or w on its directory with `write` (to make it).
    """
    import stat

    user, groups = os.geteuid(), {os.getegid(), *os.getgroups()}
    while write and path.rpartition("/")[0] and not os.path.exists(path.rpartition("/")[0]):
        path = path.rpartition("/")[0]  # several folders are to be made
    parts = path.rstrip("/").split("/")
    for count in range(1, len(parts) + 1):
        part = "/".join(parts[:count]) or "/"
        try:
            status = os.stat(part)
        except OSError:
            return ""  # the one before it let us in: what is not there has no mode
        last = count == len(parts) - write
        needed = (0o3 if write else 0o4) if last else 0o1
        if last and not write and stat.S_ISDIR(status.st_mode):
            needed = 0o5
        shift = 6 if status.st_uid == user else 3 if status.st_gid in groups else 0
        if status.st_mode >> shift & needed != needed:
            return part
        if last:
            return ""
    return ""


def suspects(held: frozenset[str] | None = None, operation: str = "") -> str:
    """What may have refused a call whose capability is held, likeliest first, each with how to look.

    What can be ruled out from here is left out: seccomp by /proc/self/status, lockdown by securityfs.
    """
    if held is None:
        held = effective_capabilities()
    found = []
    paranoid = sysctl("kernel.perf_event_paranoid") or 0
    if operation == "perf_event_open" and paranoid > 2 and "CAP_SYS_ADMIN" not in held:
        # Upstream knows -1 to 2. Debian's patch "security,perf: Allow further restriction of perf_event_open".
        found.append(
            f"kernel.perf_event_paranoid, which is {paranoid}: above 2 kernels of distributions take CAP_SYS_ADMIN "
            "(try: sudo sysctl kernel.perf_event_paranoid=2)"
        )
    if seccomp() != 0:
        found.append("a seccomp filter, as of a container or a service (grep Seccomp /proc/self/status: 2)")
    missing = next((name for name in ("CAP_SYS_ADMIN", "CAP_NET_ADMIN") if name not in held), "")
    if missing:
        found.append(f"{missing}, which is missing (try it: {grant_command(missing)})")
    mode = lockdown()
    if mode == "":
        found.append("lockdown (sudo dmesg | grep 'locked down')")
    elif mode != "none":
        found.append(f"lockdown, which is in mode {mode} (sudo dmesg | grep -i lockdown says what it refused)")
    found.append("a security module (sudo dmesg | tail; those in use: sudo cat /sys/kernel/security/lsm)")
    return "it may be " + "; or ".join(found)


def seccomp() -> int | None:
    """Mode of seccomp of this process (0 none, 1 strict, 2 filter), None where it cannot be told."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"Seccomp:"):
                    return int(line.split()[1])
    except OSError:
        return None
    return None


def in_user_namespace() -> bool:
    """Whether this process is in another user namespace than the first."""
    try:
        with open("/proc/self/uid_map", "rb") as file:
            return file.read().split() != [b"0", b"0", b"4294967295"]
    except OSError:
        return False


def grant_command(*capabilities: str) -> str:
    """A command that starts a shell of this user with what tracing needs, what is held already, and `capabilities`."""
    held = effective_capabilities()
    wanted = {"CAP_BPF", "CAP_PERFMON", *capabilities}
    names = [c for c in _TRACING if c in wanted or c in held] + sorted(wanted.difference(_TRACING))
    text = ",".join(names).lower()
    return f"sudo capsh --keep=1 --user=$USER --inh={text} --addamb={text} --"
