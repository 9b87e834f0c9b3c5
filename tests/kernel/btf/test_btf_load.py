"""BTF that we build is BTF that the kernel takes."""

from __future__ import annotations

import os

import pytest
from unit.btf._samples import everything

from osmia import syscalls
from osmia.btf import Btf, BtfBuilder, load_kernel_btf


def load(data: bytes) -> None:
    fd = syscalls.btf_load(data)
    if fd < 0:
        log = syscalls.buffer(1 << 24)
        syscalls.btf_load(data, log=log)
        raise AssertionError(f"errno {-fd}: {log.value.decode()[-500:]}")
    os.close(fd)


def test_every_kind():
    load(everything()[0].build())


@pytest.mark.parametrize("shallow", [False, True])
def test_types_copied_from_the_kernel(shallow):
    kernel = load_kernel_btf()
    b = BtfBuilder()
    for name in ("task_struct", "sk_buff", "bpf_attr", "vfs_read"):
        b.add_from(kernel, kernel.find(name), shallow=shallow)
    data = b.build()
    assert len(Btf(data)) > 100
    load(data)
