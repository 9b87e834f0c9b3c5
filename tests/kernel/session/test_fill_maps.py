"""Maps filled and variables set in the kernel: as in user space."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import osmia
from osmia.errors import MapError, UsageError
from osmia.objects import Object, read_elf
from osmia.syscalls import possible_cpus

SOURCE = r"""
#define TABLE(kind, k, v, n, name) \
	struct { int (*type)[kind]; k *key; v *value; int (*max_entries)[n]; } name SEC(".maps")
static void *(*find)(void *map, const void *key) = (void *)1;
static void (*jump)(void *ctx, void *map, u32 index) = (void *)12;
static u64 (*pid_tgid)(void) = (void *)14;
struct rule { u32 address; u16 port; u8 mac[6]; };
TABLE(1, u32, struct rule, 4, rules);
TABLE(6, u32, u64, 4, counts);
struct { int (*type)[3]; int (*key_size)[4]; int (*value_size)[4]; int (*max_entries)[4]; } jumps SEC(".maps");
struct inner { int (*type)[1]; u32 *key; u64 *value; int (*max_entries)[4]; };
struct { int (*type)[13]; int (*max_entries)[4]; u32 *key; int (*value_size)[4]; struct inner *values[]; }
    tables SEC(".maps");
const volatile u32 only;
u64 step = 1, seen, port;

SEC("tracepoint/syscalls/sys_enter_getpgid") int on(void *ctx)
{
	if (pid_tgid() >> 32 != only)
		return 0;
	u32 key = 1;
	struct rule *rule = find(&rules, &key);
	u64 *count = find(&counts, &key);
	void *inner = find(&tables, &key);
	u64 *extra = inner ? find(inner, &key) : 0;
	port = (rule ? rule->port : 0) + (extra ? *extra : 0);
	if (count)
		*count += 1;
	seen += step;
	jump(ctx, &jumps, 2);
	return 0;
}
SEC("tracepoint") int jumped(void *ctx) { seen += 100; return 0; }
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def obj(compile_c: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Object:
    return read_elf(compile_c(SOURCE, tmp_path_factory.mktemp("fill")))


@pytest.fixture(scope="module")
def compile_c() -> Callable[..., bytes]:
    from unit.objects.clang_bpf import compile_bpf

    return compile_bpf


def test_fill_then_attach(obj: Object) -> None:
    trace = osmia.trace(obj, globals={"only": os.getpid()})
    with pytest.raises(UsageError, match="was not started"):
        _ = trace.maps
    trace.load()
    trace.maps["rules"][1] = {"address": "10.0.0.1", "port": 80, "mac": "02:00:00:00:00:01"}
    trace.maps["counts"][1] = [5]
    os.getpgid(0)
    assert trace.globals["seen"] == 0  # nothing is attached
    with trace:
        os.getpgid(0)
        assert (trace.globals["seen"], trace.globals["port"], trace.maps["counts"][1]) == (1, 80, 6)
        trace.globals["step"] = 10
        trace.maps["rules"][1] = (0, 81, bytes(6))
        trace.maps["tables"][1] = {1: 1000}
        os.getpgid(0)
        assert (trace.globals["seen"], trace.globals["port"]) == (11, 1081)
        trace.maps["jumps"][2] = "jumped"
        os.getpgid(0)
        assert trace.globals["seen"] == 121 and dict(trace.maps["jumps"]) == {2: "jumped"}
        assert trace.maps["tables"][1][1] == 1000
        del trace.maps["rules"][1], trace.maps["jumps"][2], trace.maps["tables"][1]
        os.getpgid(0)
        assert (trace.globals["seen"], trace.globals["port"], dict(trace.maps["rules"])) == (131, 0, {})
        with pytest.raises(UsageError, match="it is constant"):
            trace.globals["only"] = 1
        with pytest.raises(UsageError, match="70000 is not from 0 to 65535"):
            trace.maps["rules"][1] = {"port": 70000}
        with pytest.raises(MapError, match=r"key: there is no 9 \(an array of 4 has 0 to 3\)"):
            trace.maps["jumps"][9] = "jumped"
    assert trace.globals["seen"] == 131 and trace.maps["counts"][1] == 9
    parts = trace.maps["counts"].per_cpu(1)
    assert len(parts) == possible_cpus() and parts[0] >= 5 and sum(parts) == 9


def test_globals_of_a_loaded_object(obj: Object) -> None:
    with osmia.load(obj, globals={"only": 7}) as loaded:
        assert (loaded.maps[".rodata"].lookup(bytes(4)) or b"")[:4] == b"\7\0\0\0"
    with pytest.raises(UsageError, match="of a script"):
        osmia.trace("begin { }", globals={"x": 1})


def test_maps_of_scripts(tracefs: object) -> None:
    script = """
    tracepoint:syscalls:sys_enter_getpgid /pid == $1 && @on/ { @n[comm, 1] = count(); @text = @name[1]; @c = count(); }
    tracepoint:syscalls:sys_enter_getpgid /pid == 0/ { @name[2] = comm; @on = (int32)0; }
    """
    with osmia.trace(script, os.getpid()) as trace:
        os.getpgid(0)
        assert len(trace.maps["@n"]) == 0
        trace.maps["@name"][1] = "bee"
        trace.maps["@n"]["elsewhere", 1] = 41
        trace.maps["@c"].value = 10
        trace.maps["@on"].value = 1
        os.getpgid(0)
        trace.maps["@on"].value = 0
        os.getpgid(0)
        assert trace.maps["@c"].value == sum(trace.maps["@c"].per_cpu()) == 11
        assert trace.maps["@text"].value == "bee"
        assert trace.maps["@n"]["elsewhere", 1] == 41 and sum(trace.maps["@n"].values()) == 42
        del trace.maps["@n"]["elsewhere", 1]
        assert len(trace.maps["@n"]) == 1
        with pytest.raises(UsageError, match="is not from"):
            trace.maps["@on"].value = 1 << 31
