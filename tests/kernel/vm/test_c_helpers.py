"""A C program with callbacks, dynptrs, loops and maps of maps: the same results from kernel and user space."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from struct import unpack

import pytest

from osmia.kernel import KernelTarget
from osmia.objects import Object, read_elf
from osmia.vm._target import VmTarget

SOURCE = """
typedef unsigned int u32; typedef unsigned long long u64; typedef long long s64;
#define SEC(n) __attribute__((section(n), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
struct xdp_md { u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
struct bpf_dynptr { u64 opaque[2]; } __attribute__((aligned(8)));
struct bpf_spin_lock { u32 val; };
static void *(*lookup)(void *map, const void *key) = (void *)1;
static long (*update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*delete)(void *map, const void *key) = (void *)3;
static long (*spin_lock)(struct bpf_spin_lock *) = (void *)93;
static long (*spin_unlock)(struct bpf_spin_lock *) = (void *)94;
static long (*for_each)(void *map, void *callback, void *ctx, u64 flags) = (void *)164;
static long (*loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;
static void *(*lookup_percpu)(void *map, const void *key, u32 cpu) = (void *)195;
static long (*dynptr_from_mem)(void *data, u32 size, u64 flags, struct bpf_dynptr *p) = (void *)197;
static long (*reserve_dynptr)(void *ring, u32 size, u64 flags, struct bpf_dynptr *p) = (void *)198;
static void (*submit_dynptr)(struct bpf_dynptr *p, u64 flags) = (void *)199;
static void (*discard_dynptr)(struct bpf_dynptr *p, u64 flags) = (void *)200;
static long (*dynptr_read)(void *to, u32 len, const struct bpf_dynptr *p, u32 off, u64 flags) = (void *)201;
static long (*dynptr_write)(const struct bpf_dynptr *p, u32 off, void *from, u32 len, u64 flags) = (void *)202;
static void *(*dynptr_data)(const struct bpf_dynptr *p, u32 off, u32 len) = (void *)203;
struct { __uint(type, 2); __uint(max_entries, 64); __type(key, u32); __type(value, s64); } results SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 8); __type(key, u32); __type(value, u64); } hash SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 4); __type(key, u32); __type(value, u64); } percpu SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
struct locked { u64 before; struct bpf_spin_lock lock; u32 after; };
struct { __uint(type, 1); __uint(max_entries, 4); __type(key, u32); __type(value, struct locked); } locks SEC(".maps");
struct inner { __uint(type, 2); __uint(max_entries, 2); __type(key, u32); __type(value, u64); };
struct inner one SEC(".maps"), two SEC(".maps");
struct { __uint(type, 12); __uint(max_entries, 3); __type(key, u32); __array(values, struct inner); }
outer SEC(".maps") = { .values = { [0] = &one, [2] = &two } };
char scratch[64];

static __attribute__((noinline)) int put(u32 at, s64 value)
{
    s64 *slot = lookup(&results, &at);
    if (slot) *slot = value;
    return slot != 0;
}
struct sum { u64 keys, values, stop; };
static int add(void *map, u32 *key, u64 *value, struct sum *sum)
{
    sum->keys += *key;
    sum->values += *value;
    return sum->stop && *key == 2;
}
static int remove(void *map, u32 *key, u64 *value, struct sum *sum)
{
    if (*key & 1) { u32 k = *key; sum->keys += delete(map, &k) == 0; }
    return 0;
}
static int step(u32 i, struct sum *sum)
{
    sum->keys += i;
    return sum->keys > 40;
}
SEC("xdp") int iterate(struct xdp_md *ctx)
{
    struct sum sum = {};
    u64 v;
    for (u32 i = 0; i < 6; i++) { u32 k = i; v = i * 10; update(&hash, &k, &v, 0); }
    put(0, for_each(&hash, add, &sum, 0)); put(1, sum.keys); put(2, sum.values);
    put(3, for_each(&hash, add, &sum, 1));
    sum.keys = 0;
    put(4, for_each(&hash, remove, &sum, 0)); put(5, sum.keys);
    sum.keys = sum.values = 0; sum.stop = 1;
    for (u32 i = 0; i < 4; i++) { u32 k = i; u64 *p = lookup(&percpu, &k); if (p) *p = i + 5; }
    put(6, for_each(&percpu, add, &sum, 0)); put(7, sum.keys); put(8, sum.values);
    sum.keys = 0;
    put(9, loop(5, step, &sum, 0)); put(10, sum.keys);
    put(11, loop(100, step, &sum, 0)); put(12, sum.keys);
    put(13, loop(1 << 24, step, &sum, 0));
    put(14, loop(1, step, &sum, 1));
    u32 far = 77, k = 1;
    put(15, lookup_percpu(&percpu, &k, far) != 0);
    return 2;
}
SEC("xdp") int pointers(struct xdp_md *ctx)
{
    struct bpf_dynptr d;
    u64 v = 0x1122334455667788, w = 0;
    put(0, dynptr_from_mem(scratch, 24, 0, &d));
    put(1, dynptr_write(&d, 16, &v, 8, 0)); put(2, dynptr_write(&d, 17, &v, 8, 0));
    put(3, dynptr_write(&d, 0, &v, 8, 1)); put(4, dynptr_read(&w, 8, &d, 16, 0)); put(5, w);
    put(6, dynptr_read(&w, 8, &d, 20, 0)); put(7, dynptr_data(&d, 17, 8) != 0);
    char *p = dynptr_data(&d, 16, 8);
    put(8, p ? *p : -1);
    put(9, dynptr_from_mem(scratch, 24, 1, &d)); put(10, dynptr_read(&w, 8, &d, 0, 0));
    struct bpf_dynptr r, s, t;
    put(11, reserve_dynptr(&ring, 100, 0, &r)); put(12, dynptr_write(&r, 92, &v, 8, 0));
    put(13, dynptr_write(&r, 93, &v, 8, 0));
    submit_dynptr(&r, 0);
    put(14, reserve_dynptr(&ring, 5000, 0, &s));
    discard_dynptr(&s, 0);
    put(15, reserve_dynptr(&ring, 8, 1, &t)); put(16, dynptr_write(&t, 0, &v, 8, 0));
    discard_dynptr(&t, 0);
    return 2;
}
SEC("xdp") int nested(struct xdp_md *ctx)
{
    for (u32 i = 0; i < 4; i++) {
        u32 zero = 0, k = i;
        void *inner = lookup(&outer, &k);
        if (!inner) { put(i, -1); continue; }
        u64 *slot = lookup(inner, &zero);
        if (slot) { *slot += i + 7; put(i, *slot); }
    }
    return 2;
}
SEC("xdp") int locking(struct xdp_md *ctx)
{
    u32 key = 1;
    struct locked v = { .before = 5, .after = 6 };
    put(0, update(&locks, &key, &v, 0));
    struct locked *p = lookup(&locks, &key);
    if (!p) return 1;
    spin_lock(&p->lock);
    p->before = 9;
    spin_unlock(&p->lock);
    put(1, p->before);
    v.before = 11;
    put(2, update(&locks, &key, &v, 4)); put(3, p->before);
    put(4, update(&locks, &key, &v, 0));
    return 2;
}
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Object:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("no clang")
    folder: Path = tmp_path_factory.mktemp("c")
    source, out = folder / "a.c", folder / "a.o"
    source.write_text(SOURCE)
    command = [clang, "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-c", str(source), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read_elf(out.read_bytes())


def _results(loaded: object, program: str) -> list[int]:
    """Run it on a packet: the numbers that it left, and its return value."""
    value = loaded.programs[program].test_run(bytes(64)).retval  # type: ignore[attr-defined]
    left = [unpack("=q", row)[0] for _, row in loaded.maps["results"].items()]  # type: ignore[attr-defined]
    return [*left, value]


@pytest.mark.parametrize("program", ["iterate", "pointers", "nested", "locking"])
@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_same_results(built: Object, program: str, engine: str) -> None:
    with KernelTarget().load(built, programs=[program]) as kernel:
        expected = _results(kernel, program)
    with VmTarget(engine=engine, checked=True).load(built, programs=[program]) as vm:
        assert _results(vm, program) == expected


def test_a_lock_is_hidden_from_user_space(built: Object) -> None:
    rows = []
    for target in (KernelTarget(), VmTarget(checked=True)):
        with target.load(built, programs=["locking"]) as loaded:
            loaded.maps["locks"].update(bytes(4), b"\xff" * 16)
            rows.append(loaded.maps["locks"].lookup(bytes(4)))
    assert rows[0] == rows[1]
