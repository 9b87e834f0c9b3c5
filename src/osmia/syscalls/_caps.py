"""Capabilities of this process, sysctls and lockdown: what decides whether bpf(2) is allowed."""

from __future__ import annotations

# linux/capability.h, by bit
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip


def capability_names(mask: int) -> frozenset[str]:
    """Names of the bits set in a capability mask."""
    return frozenset(name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1)


def effective_capabilities() -> frozenset[str]:
    """Capabilities in effect for this thread; nothing where /proc is not mounted."""
    try:
        with open("/proc/thread-self/status", "rb") as file:
            for line in file:
                if line.startswith(b"CapEff:"):
                    return capability_names(int(line.split()[1], 16))
    except OSError:
        return frozenset()
    return frozenset()


def has_capability(name: str) -> bool:
    """Whether `name` is in effect. Kernels before 5.8 know CAP_SYS_ADMIN in place of CAP_BPF and CAP_PERFMON."""
    held = effective_capabilities()
    return name in held or (name in ("CAP_BPF", "CAP_PERFMON") and "CAP_SYS_ADMIN" in held)


def sysctl(name: str) -> int | None:
    """Value of a numeric sysctl ("kernel.perf_event_paranoid"), or None where it cannot be read."""
    try:
        with open("/proc/sys/" + name.replace(".", "/"), "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def lockdown() -> str:
    """Lockdown mode in force ("none", "integrity", "confidentiality"), or "" where it cannot be told.

    The file is in securityfs. Where that is mounted and has no such file, the kernel was built without lockdown.
    """
    import os

    try:
        with open("/sys/kernel/security/lockdown") as file:
            return file.read().partition("[")[2].partition("]")[0]
    except FileNotFoundError:
        return "none" if os.path.exists("/sys/kernel/security/lsm") else ""
    except OSError:
        return ""
