"""The reader against the running kernel's BTF, with bpftool as a second opinion."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess

import pytest

from osmia import btf as B
from osmia.btf import Btf, BtfBuilder, load_kernel_btf
from osmia.errors import BtfError

VMLINUX = "/sys/kernel/btf/vmlinux"
pytestmark = pytest.mark.skipif(not os.access(VMLINUX, os.R_OK), reason=f"{VMLINUX} is not there")


@pytest.fixture(scope="module")
def kernel():
    with open(VMLINUX, "rb") as f:
        return Btf(f.read())


@pytest.mark.skipif(not shutil.which("bpftool"), reason="bpftool is not installed")
def test_every_id_kind_and_name_agree_with_bpftool(kernel):
    command = ["bpftool", "btf", "dump", "file", VMLINUX, "format", "raw"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    theirs = re.findall(r"^\[(\d+)\] (\w+) '([^']*)'", text, re.M)
    assert len(theirs) == len(kernel) > 10_000
    ours = [(str(t.id), t.kind_name, t.name or "(anon)") for t in kernel]
    assert ours == theirs


def test_find_agrees_with_a_walk_of_all_types(kernel):
    ids: dict[tuple[str, int], list[int]] = {}
    for id in range(1, kernel.end_id):
        ids.setdefault((kernel.name(id), kernel.kind(id)), []).append(id)
    named = [key for key in ids if key[0]]
    for name, kind in [*random.Random(1).sample(named, 150), ("int", B.KIND_INT), ("list_head", B.KIND_STRUCT)]:
        assert kernel.find(name, kind) == ids[name, kind][0]
        assert list(kernel.find_all(name, kind)) == ids[name, kind]
        assert kernel.kind(kernel.find(name)) != B.KIND_FWD or all(k == B.KIND_FWD for n, k in ids if n == name)
    assert kernel.find("no_such_type_here") is None
    assert kernel.find("") is None
    assert kernel.find("task_struct", B.KIND_UNION) is None


def test_functions_and_parameters(kernel):
    names = set(kernel.funcs())
    assert {"vfs_read", "schedule"} <= names
    assert len(names) > 10_000
    assert [p.name for p in kernel.func_params("vfs_read")] == ["file", "buf", "count", "pos"]
    assert kernel.func_params("no_such_function") is None
    assert sum(1 for _ in kernel.ids(B.KIND_FUNC)) >= len(names)


def test_enumerators(kernel):
    value, id = kernel.enum_value("BPF_MAP_TYPE_RINGBUF")
    assert (value, kernel.name(id)) == (27, "bpf_map_type")
    assert kernel.enum_value("PERF_CONTEXT_MAX")[0] in (-4095, (1 << 64) - 4095)
    assert kernel.enum_value("task_struct") is None


def test_fields_through_anonymous_members(kernel):
    skb = kernel.find("sk_buff", B.KIND_STRUCT)
    offset, bits, type_id = kernel.field(skb, "dev")
    assert (offset, bits, B.describe(kernel, type_id)) == (128, 0, "struct net_device *")
    assert kernel.field(skb, "no_such_field") is None
    offset, bits, _ = kernel.field(skb, "cloned")
    assert bits == 1


def test_sizes_and_resolution(kernel):
    assert kernel.size_of(kernel.find("u64", B.KIND_TYPEDEF)) == 8
    assert kernel.kind(kernel.resolve(kernel.find("pid_t", B.KIND_TYPEDEF))) == B.KIND_INT
    comm = kernel.field(kernel.find("task_struct"), "comm")
    assert kernel.size_of(comm[2]) == 16
    for bad in (0, kernel.find("vfs_read", B.KIND_FUNC)):
        with pytest.raises(BtfError, match="has no size"):
            kernel.size_of(bad)


def test_ids_out_of_range(kernel):
    for id in (-1, kernel.end_id, 1 << 40):
        with pytest.raises(BtfError, match="there are only"):
            kernel.type(id)


def test_kernel_btf_is_the_file(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    again = load_kernel_btf()
    assert len(again) == len(kernel)
    assert again.name(again.end_id - 1) == kernel.name(kernel.end_id - 1)


def test_module_on_top_of_the_kernel(kernel, tmp_path):
    b = BtfBuilder(kernel)
    file = kernel.find("file", B.KIND_STRUCT)
    own = b.struct("my_module_state", 16, [("file", b.ptr(file), 0), ("name", b.ptr(kernel.find("char")), 64)])
    b.func("my_module_open", b.func_proto(0, [("state", b.ptr(own))]))
    (tmp_path / "my_module").write_bytes(b.build())
    (tmp_path / "vmlinux").symlink_to(VMLINUX)
    module = load_kernel_btf("my_module", path=str(tmp_path / "vmlinux"))
    assert module.find("my_module_state") == own >= kernel.end_id
    assert module.find("task_struct") == kernel.find("task_struct")
    assert [B.describe(module, m.type_id) for m in module.members(own)] == ["struct file *", "char *"]
    assert list(module.funcs()) == ["my_module_open"]
    assert B.describe(module, module.find("my_module_open")) == "void my_module_open(struct my_module_state *state)"
    with pytest.raises(BtfError, match="no such file"):
        load_kernel_btf("other_module", path=str(tmp_path / "vmlinux"))
