"""What the kernel that an object is compiled for can do, told by its version or its BTF."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....btf import Btf

# Helper name -> (number, first version). Numbers are include/uapi/linux/bpf.h's.
_HELPERS = {
    "probe_read_user": (112, (5, 5)),
    "probe_read_kernel": (113, (5, 5)),
    "probe_read_user_str": (114, (5, 5)),
    "probe_read_kernel_str": (115, (5, 5)),
    "ringbuf_reserve": (131, (5, 8)),
    "ktime_get_boot_ns": (125, (5, 8)),
    "jiffies64": (118, (5, 5)),
    "for_each_map_elem": (164, (5, 13)),
    "get_func_ip": (173, (5, 15)),
    "get_attach_cookie": (174, (5, 15)),
    "loop": (181, (5, 17)),
    "strncmp": (182, (5, 17)),
    "map_lookup_percpu_elem": (195, (5, 19)),
    "ktime_get_tai_ns": (208, (6, 1)),
    "send_signal_thread": (117, (5, 5)),
    "get_ns_current_pid_tgid": (120, (5, 7)),
    "ktime_get_coarse_ns": (160, (5, 11)),
    "get_current_task_btf": (158, (5, 11)),
    "d_path": (147, (5, 10)),
    "get_socket_cookie": (46, (4, 12)),
    "skb_output": (111, (5, 5)),
}


class Features:
    """`version` is (major, minor) of the target kernel; `btf` its BTF when at hand (distributions backport)."""

    def __init__(self, version: tuple[int, int], btf: Btf | None, cpus: int, arch: str = "x86_64") -> None:
        self.version = version
        self.btf = btf
        self.cpus = cpus
        self.arch = arch
        self._known: dict[str, bool] = {}

    def has(self, helper: str) -> bool:
        found = self._known.get(helper)
        if found is None:
            found = self.version >= _HELPERS[helper][1]
            if not found and self.btf is not None:
                found = self.btf.enum_value(f"BPF_FUNC_{helper}") is not None
            self._known[helper] = found
        return found

    def number(self, helper: str) -> int:
        return _HELPERS[helper][0]

    def since(self, helper: str) -> str:
        return ".".join(map(str, _HELPERS[helper][1]))

    def probe_read(self, user: bool) -> int:
        """5.5 split bpf_probe_read in two (commit 6ae08ae3dea2); before, one helper reads both spaces."""
        if not self.has("probe_read_kernel"):
            return 4
        return 112 if user else 113

    def probe_read_str(self, user: bool) -> int:
        if not self.has("probe_read_kernel"):
            return 45
        return 114 if user else 115

    @property
    def boot_clock(self) -> int:
        """bpf_ktime_get_boot_ns, or the monotonic clock before 5.8."""
        return 125 if self.has("ktime_get_boot_ns") else 5
