"""What functions, hooks and tracepoints hand over, where they can be attached to."""

from __future__ import annotations

import os

import pytest
from _tables import measure, wrong_arguments

from osmia.btf import KIND_TYPEDEF
from osmia.verifier._profile import profile

M = measure()
LIVE = profile(os.uname().release)
FUNCTIONS = ("vfs_read", "vfs_open", "do_sys_openat2", "tcp_sendmsg", "kmem_cache_free", "__kmalloc", "wake_up_process",
             "filp_close", "ksys_write", "security_file_open", "dput", "path_put")  # fmt: skip
HOOKS = (
    "file_open",
    "socket_bind",
    "bprm_check_security",
    "task_alloc",
    "inode_free_security",
    "path_mkdir",
    "bpf_map",
)


@pytest.fixture(scope="module")
def kernel() -> object:
    return M.Kernel()


@pytest.mark.parametrize("attach", ("trace_fentry", "trace_fexit", "modify_return"))
def test_functions(kernel: object, attach: str) -> None:
    wrong = []
    for name in FUNCTIONS:
        if kernel.btf.find(name) and (attach != "modify_return" or name.startswith("security_")):  # type: ignore[attr-defined]
            wrong += wrong_arguments(kernel, ("tracing", attach), name, LIVE)
    assert wrong == []


@pytest.mark.parametrize("attach", ("lsm_mac", "lsm_cgroup"))
def test_hooks(kernel: object, attach: str) -> None:
    wrong = []
    for name in HOOKS:
        wrong += wrong_arguments(kernel, ("lsm", attach), f"bpf_lsm_{name}", LIVE)
    assert wrong == []


def test_tracepoints(kernel: object) -> None:
    btf = kernel.btf  # type: ignore[attr-defined]
    types = map(btf.type, range(1, len(btf)))
    names = sorted(t.name for t in types if t.kind == KIND_TYPEDEF and t.name.startswith("btf_trace_"))
    wrong = []
    for name in names[::60]:
        wrong += wrong_arguments(kernel, ("tracing", "trace_raw_tp"), name, LIVE)
    assert wrong == []
