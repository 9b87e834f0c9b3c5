"""Compile C for BPF with the system's clang; tests that need it are skipped where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HEADER = r"""
typedef unsigned int u32; typedef unsigned long long u64; typedef int s32; typedef unsigned char u8;
typedef unsigned short u16;
#define SEC(n) __attribute__((section(n), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
#define __weak __attribute__((weak))
#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#define noinline __attribute__((noinline))
static void *(*bpf_map_lookup_elem)(void *, const void *) = (void *)1;
static long (*bpf_map_update_elem)(void *, const void *, const void *, u64) = (void *)2;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_loop)(u32, void *, void *, u64) = (void *)181;
"""


def compile_bpf(source: str, folder: Path, *, cpu: str = "v3", flags: tuple[str, ...] = ("-g",)) -> bytes:
    """The object that clang makes of `source`, with HEADER before it."""
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang is not installed")
    path, out = folder / "test.bpf.c", folder / "test.bpf.o"
    (folder / "defs.h").write_text(HEADER)
    path.write_text('#include "defs.h"\n' + source)
    command = [clang, "-target", "bpf", *flags, "-O2", f"-mcpu={cpu}", "-c", path, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "No available targets" in done.stderr or "unable to create target" in done.stderr:
        pytest.skip("clang has no BPF target")
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


SAMPLE = r"""
struct val { u64 a, b; };
struct { __uint(type, 1); __uint(max_entries, 128); __type(key, u32); __type(value, struct val); } counts SEC(".maps");
struct inner { __uint(type, 2); __uint(max_entries, 4); __uint(key_size, 4); __uint(value_size, 8); };
struct inner one SEC(".maps");
struct { __uint(type, 13); __uint(max_entries, 8); __type(key, u32); __array(values, struct inner); }
    outer SEC(".maps") = { .values = { [2] = &one } };
struct { __uint(type, 27); __uint(max_entries, 4096); __uint(pinning, 1); } ring SEC(".maps");
const volatile int limit = 5;
int hits = 0;
u64 seen = 7;
static int private = 9;
const char text[] = "hello";
extern u32 LINUX_KERNEL_VERSION __kconfig;
extern u64 CONFIG_HZ __kconfig __weak;
extern const void jiffies __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_nope(int) __ksym __weak;
static noinline int helper(int a)
{
    u32 k = a;
    struct val *v = bpf_map_lookup_elem(&counts, &k);
    return v ? v->a + limit : private++;
}
noinline int visible(int a) { return helper(a) * 3; }
static int callback(u32 i, void *ctx) { hits++; return 0; }
SEC("tp/syscalls/sys_enter_openat") int on_open(void *ctx)
{
    bpf_loop(10, callback, 0, 0);
    return helper(3) + visible(2);
}
SEC("?raw_tp/sched_switch") int on_switch(u64 *ctx)
{
    seen += CONFIG_HZ + LINUX_KERNEL_VERSION + (long)&jiffies;
    if (bpf_nope) bpf_nope(1);
    return 0;
}
SEC("xdp") int on_packet(u32 *ctx) { return text[ctx[4] & 3]; }
SEC("fentry.s/vfs_read") int on_read(u64 *ctx) { bpf_rcu_read_lock(); return 0; }
char LICENSE[] SEC("license") = "Dual BSD/GPL";
u32 _version SEC("version") = 0x060601;
"""
