"""Objects that clang built: maps by BTF, data sections, CO-RE, kconfig, kernel symbols, subprograms."""

from __future__ import annotations

import os
import shutil
import subprocess
from struct import unpack

import pytest

from osmia import syscalls
from osmia.kernel import KernelTarget
from osmia.objects import AttachPoint, read_elf

SOURCE = """
typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(n) __attribute__((section(n), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
struct task_struct { int tgid; int pid; } __attribute__((preserve_access_index));
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*bpf_get_current_task_btf)(void) = (void *)158;
struct { __uint(type, 2); __uint(max_entries, 4); __type(key, u32); __type(value, u64); } results SEC(".maps");
const volatile int wanted = 7;
int calls = 100;
u64 zeroed;
extern int LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern const int no_such_symbol __attribute__((section(".ksyms"), weak));
static __attribute__((noinline)) int put(u32 at, u64 value)
{
    u64 *slot = bpf_map_lookup_elem(&results, &at);
    if (slot) *slot = value;
    return slot != 0;
}
SEC("raw_tp/sys_enter") int probe(void *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task_btf();
    put(0, task->tgid);
    put(1, LINUX_KERNEL_VERSION);
    put(2, wanted);
    put(3, &no_such_symbol == 0);
    calls++;
    zeroed += 2;
    return 3;
}
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("no clang")
    folder = tmp_path_factory.mktemp("clang")
    source, out = folder / "a.c", folder / "a.o"
    source.write_text(SOURCE)
    command = [clang, "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-c", str(source), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read_elf(out.read_bytes())


def test_clang_object_runs(built):
    with KernelTarget().load(built) as loaded:
        assert loaded.notes == []
        assert loaded.programs["probe"].run_once() == 3
        values = [unpack("<Q", value)[0] for _, value in loaded.maps["results"].items()]
        major, minor, patch = syscalls.kernel_version()
        assert values == [os.getpid(), major << 16 | minor << 8 | min(patch, 255), 7, 1]
        assert unpack("<i", loaded.maps[".data"].lookup(bytes(4))[:4])[0] == 101
        assert unpack("<Q", loaded.maps[".bss"].lookup(bytes(4))[:8])[0] == 2


def test_clang_object_attaches_where_its_section_says(built):
    point = built.attach_points[0]
    assert isinstance(point, AttachPoint)
    with KernelTarget().load(built) as loaded:
        loaded.attach(point)
        os.getppid()
        assert unpack("<i", loaded.maps[".data"].lookup(bytes(4))[:4])[0] > 100
