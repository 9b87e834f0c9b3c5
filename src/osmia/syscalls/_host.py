"""Facts about this host: CPUs, kernel release, where tracefs is; the memory limit of old kernels."""

from __future__ import annotations

import os

from ._call import address, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..errors import KernelError

_tracefs: str = ""
_possible = 0


def cpu_list(kind: str) -> list[int]:
    """CPU numbers of "possible", "online" or "present", as /sys/devices/system/cpu says."""
    with open(f"/sys/devices/system/cpu/{kind}") as file:
        return parse_cpu_list(file.read())


def parse_cpu_list(text: str) -> list[int]:
    """ "0-2,5" -> [0, 1, 2, 5]."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            cpus += range(int(first), int(last or first) + 1)
    return cpus


def kernel_version(release: str = "") -> tuple[int, int, int]:
    """(6, 18, 44) of a release such as "6.18.44-fc-v669" (this kernel's by default)."""
    numbers = [0, 0, 0]
    for i, part in enumerate((release or os.uname().release).split("-")[0].split(".")[:3]):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers[i] = int(digits or 0)
    return numbers[0], numbers[1], numbers[2]


def kernel_config() -> dict[str, str]:
    """CONFIG_ name -> value ("y", "m", "42", '"text"') of the running kernel; empty where it is not to be found."""
    release = os.uname().release
    for path in ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if path.endswith(".gz"):
            import zlib

            try:
                data = zlib.decompress(data, 31)
            except zlib.error:
                continue  # empty or cut off: as good as none
        pairs = (line.partition("=") for line in data.decode(errors="replace").splitlines() if line[:7] == "CONFIG_")
        return {name: value for name, _, value in pairs}
    return {}


def raise_memlock() -> None:
    """Lift RLIMIT_MEMLOCK where maps count against it: before 5.11 (kernel commit d5299b67dd59).

    Failure is ignored on purpose: the limit may well suffice, and if it does not, creating the map says so.
    """
    if kernel_version() >= (5, 11, 0):
        return
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return


def raise_open_files() -> bool:
    """Lift the soft limit of open files to the hard one; whether it was lower."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return True


def possible_cpus() -> int:
    """How many copies a per-CPU value has: the CPUs that this machine can have, as the kernel numbers them."""
    global _possible
    if not _possible:
        try:
            _possible = max(cpu_list("possible")) + 1
        except OSError:
            _possible = os.cpu_count() or 1  # a container without sysfs
    return _possible


def tracefs() -> str:
    """Directory of tracefs.

    Where it is not mounted and we may, a mount that no path leads to is made (fsmount(2), since 5.2): it is
    ours alone, and goes with the process. Raises PermissionDenied or KernelError.
    """
    global _tracefs
    if not _tracefs:
        _tracefs = _mounted() or _private_mount()
    return _tracefs


def _mounted() -> str:
    for path in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        try:
            with open(path + "/trace_clock"):
                return path
        except PermissionError:
            from ._explain import explain

            raise explain("open", 13, path, "CAP_DAC_READ_SEARCH") from None
        except OSError:
            continue
    return ""


def _private_mount() -> str:
    kind, create = b"tracefs\0", 6  # FSCONFIG_CMD_CREATE
    context = syscall("fsopen", address(kind), 1)  # FSOPEN_CLOEXEC
    if context < 0:
        raise _not_mounted(-context)
    try:
        result = syscall("fsconfig", context, create, 0, 0, 0)
        mount = syscall("fsmount", context, 1, 0) if result >= 0 else result
    finally:
        os.close(context)
    if mount < 0:
        raise _not_mounted(-mount)
    return f"/proc/self/fd/{mount}"


def _not_mounted(errno: int) -> KernelError:
    """Why there is no tracefs, and the command that mounts it."""
    from ..errors import KernelError, PermissionDenied
    from ._explain import explain

    command = "sudo mount -t tracefs tracefs /sys/kernel/tracing"
    if errno in (1, 13):
        found = explain("mount", errno, "tracefs", "CAP_SYS_ADMIN")
        if isinstance(found, PermissionDenied) and not found.capability:
            return found  # it is held: a security module, a user namespace
        message = "mount tracefs: it is not mounted, and CAP_SYS_ADMIN is missing to do it"
        return PermissionDenied(message, capability="CAP_SYS_ADMIN", errno=errno, operation="mount", hint=command)
    if errno == 19:  # ENODEV: the kernel knows no such file system
        cause, command = "this kernel was built without CONFIG_TRACING", "use uprobes, raw tracepoints or intervals"
    else:
        cause = f"it is not mounted, and cannot be ({os.strerror(errno).lower()})"
    return KernelError(f"mount tracefs: {cause}", errno=errno, operation="mount", hint=command)
