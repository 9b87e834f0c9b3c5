"""Other processes and namespaces."""

from __future__ import annotations

from struct import pack

from ._call import address, buffer, error, syscall


def process_read(pid: int, where: int, size: int) -> bytes:
    """Read memory of a process (process_vm_readv): up to `size` bytes from address `where`."""
    out = buffer(size)
    local = pack("=QQ", address(out), size)
    remote = pack("=QQ", where, size)
    result = syscall("process_vm_readv", pid, address(local), 1, address(remote), 1, 0)
    if result < 0:
        raise error("process_vm_readv", -result, f"of process {pid}")
    return out.raw[:result]


def setns(fd: int, kind: int = 0) -> None:
    """Enter the namespace that `fd` stands for; `kind` is a CLONE_NEW* flag or 0."""
    result = syscall("setns", fd, kind)
    if result < 0:
        raise error("setns", -result)


def unshare(flags: int) -> None:
    """Leave the shared namespaces named by CLONE_NEW* `flags`."""
    result = syscall("unshare", flags)
    if result < 0:
        raise error("unshare", -result)


def end_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when the thread that forked it ends (PR_SET_PDEATHSIG)."""
    result = syscall("prctl", 1, signal)
    if result < 0:
        raise error("prctl", -result)


def pidfd_open(pid: int) -> int:
    """An fd that becomes readable when the process ends (since 5.3)."""
    result = syscall("pidfd_open", pid, 0)
    if result < 0:
        raise error("pidfd_open", -result, f"of process {pid}")
    return result
