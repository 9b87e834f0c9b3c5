"""Objects that clang builds for libbpf."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.btf import KIND_DATASEC, KIND_FUNC, Btf
from osmia.elf import ElfFile
from osmia.errors import ObjectError, OsmiaError
from osmia.objects import MapSpec, Object, link, read_elf

Compile = Callable[..., bytes]


@pytest.fixture(scope="module")
def sample(sample_elf: bytes) -> Object:
    return read_elf(sample_elf, "sample.bpf.o")


def _map(obj: Object, name: str) -> MapSpec:
    return next(m for m in obj.maps if m.name == name)


def _relocations(obj: Object, program: str) -> list[tuple[str, str, int, bool]]:
    p = next(p for p in obj.programs if p.name == program)
    return [(r.kind, r.symbol, r.addend, r.weak) for r in p.function.relocations]


def test_programs(sample: Object) -> None:
    rows = [(p.name, p.type, p.attach_type, p.attach_to, p.flags, p.autoload) for p in sample.programs]
    assert rows == [
        ("on_open", 5, 0, "", 0, True),
        ("on_switch", 17, 0, "", 0, False),
        ("on_packet", 6, 37, "", 0, True),
        ("on_read", 26, 24, "vfs_read", 16, True),
    ]
    assert (sample.license, sample.version) == ("Dual BSD/GPL", 0x060601)
    assert [(a.provider, a.program, a.target, a.function) for a in sample.attach_points] == [
        ("tracepoint", "on_open", "syscalls", "sys_enter_openat"),
        ("rawtracepoint", "on_switch", "", "sched_switch"),
        ("fentry", "on_read", "", "vfs_read"),
    ]


def test_functions_and_their_types(sample: Object) -> None:
    btf = Btf(sample.btf)
    assert {(f.name, f.is_global) for f in sample.subprograms} == {
        ("helper", False), ("visible", True), ("callback", False),
    }  # fmt: skip
    for f in (*sample.subprograms, *(p.function for p in sample.programs)):
        assert btf.type(f.type_id).kind == KIND_FUNC and btf.name(f.type_id) == f.name
        assert f.lines and f.lines[0].insn == 0 and f.lines[0].file.endswith("test.bpf.c")
    helper = next(f for f in sample.subprograms if f.name == "helper")
    assert any("bpf_map_lookup_elem(&counts" in line.text for line in helper.lines)


def test_relocations(sample: Object) -> None:
    assert _relocations(sample, "on_open") == [
        ("func", "callback", 0, False), ("call", "helper", 0, False), ("call", "visible", 0, False),
    ]  # fmt: skip
    assert _relocations(sample, "on_packet") == [("map_value", ".rodata", 4, False)]
    assert _relocations(sample, "on_read") == [("kfunc", "bpf_rcu_read_lock", 0, False)]
    found = set(_relocations(sample, "on_switch"))
    assert {
        ("kconfig", "CONFIG_HZ", 0, True),
        ("kconfig", "LINUX_KERNEL_VERSION", 8, False),
        ("ksym", "jiffies", 0, False),
        ("ksym", "bpf_nope", 0, True),
        ("kfunc", "bpf_nope", 0, True),
        ("map_value", ".data", 0, False),
    } == found


def test_maps(sample: Object) -> None:
    btf = Btf(sample.btf)
    counts = _map(sample, "counts")
    assert (counts.type, counts.key_size, counts.value_size, counts.max_entries) == (1, 4, 16, 128)
    assert btf.name(btf.resolve(counts.value_type)) == "val"
    assert _map(sample, "outer").inner == MapSpec("outer.inner", 2, 4, 8, 4)
    assert _map(sample, "outer").values == ((2, "one"),)
    assert _map(sample, "ring").pinning == 1
    rodata, data, bss = (_map(sample, n) for n in (".rodata", ".data", ".bss"))
    assert rodata.contents == b"\5\0\0\0hello\0" and rodata.frozen and rodata.flags == 128
    assert data.contents == b"\7\0\0\0\0\0\0\0\x09\0\0\0" and not data.frozen
    assert bss.contents == bytes(4)
    assert _map(sample, ".kconfig").value_size == 12


def test_btf_sections_have_sizes_and_offsets(sample: Object) -> None:
    btf = Btf(sample.btf)
    sections = {t.name: t for t in btf if t.kind == KIND_DATASEC}
    assert all(t.size for t in sections.values())
    for t in sections.values():
        ends = [v.offset + v.size for v in t.vars]
        assert all(a <= b.offset for a, b in zip(ends, t.vars[1:])) and ends[-1] <= t.size
    assert [btf.name(v.type_id) for v in sections[".rodata"].vars] == ["limit", "text"]


def test_linked_program_has_what_it_calls(sample: Object) -> None:
    linked = link(sample.programs[0], sample)
    assert linked.names == ("on_open", "callback", "helper", "visible")
    assert len(linked.func_infos) == 4
    assert {r.kind for r in linked.relocations} == {"map", "map_value"}


def test_calls_that_the_compiler_resolved_itself(sample_elf: bytes) -> None:
    data = sample_elf
    file = ElfFile(data)
    text = file.section(".text")
    assert text is not None
    helper = file.find_symbol("helper")
    assert helper is not None
    # Write the distance into the call of `helper` in `on_open`'s neighbour, as assemblers may, and check that
    # a relocation comes out of it.
    at = next(i for i in range(0, text.size, 8) if text.data[i : i + 2] == b"\x85\x10")
    patched = bytearray(data)
    distance = (helper.value - at) // 8 - 1
    patched[text.offset + at + 4 : text.offset + at + 8] = distance.to_bytes(4, "little", signed=True)
    kept = [r for r in file.relocations(text) if r.offset == at]
    assert not kept
    calls = [r for f in read_elf(bytes(patched)).subprograms for r in f.relocations if r.kind == "call"]
    assert [r.symbol for r in calls] == ["helper"]


def test_old_map_definitions(tmp_path: Path, compile_c: Compile) -> None:
    source = r"""
    struct bpf_map_def { u32 type, key_size, value_size, max_entries, map_flags; };
    struct bpf_map_def SEC("maps") a = { 1, 4, 8, 100, 1 };
    struct bpf_map_def SEC("maps") b = { 2, 4, 16, 5, 0 };
    SEC("socket") int f(void *ctx) { u32 k = 0; return bpf_map_lookup_elem(&b, &k) != 0; }
    """
    for flags in (("-g",), ()):
        obj = read_elf(compile_c(source, tmp_path, flags=flags))
        assert {m.name: (m.type, m.key_size, m.value_size, m.max_entries, m.flags) for m in obj.maps} == {
            "a": (1, 4, 8, 100, 1), "b": (2, 4, 16, 5, 0),
        }  # fmt: skip
        assert _relocations(obj, "f") == [("map", "b", 0, False)]


def test_program_array_with_initial_programs(tmp_path: Path, compile_c: Compile) -> None:
    source = r"""
    int first(void *ctx);
    struct { __uint(type, 3); __uint(max_entries, 2); __uint(key_size, 4); __array(values, int (void *)); }
        jumps SEC(".maps") = { .values = { [1] = (void *)&first } };
    SEC("xdp") int first(void *ctx) { return 2; }
    """
    obj = read_elf(compile_c(source, tmp_path))
    assert (_map(obj, "jumps").values, _map(obj, "jumps").value_size) == (((1, "first"),), 4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('SEC("fentri/vfs_read") int f(void *c) { return 0; }', "names no program type .did you mean 'fentry'"),
        ('struct { __uint(max_entries, 1); } m SEC(".maps");', "no `type` attribute"),
        ('struct { __uint(type, 1); __uint(colour, 1); } m SEC(".maps");', "unknown attribute 'colour'"),
        ("const char *const names[] = {\"a\", \"b\"};\n"
         'SEC("xdp") int f(u32 *c) { return *names[*c & 1]; }', "holds addresses"),
    ],
)  # fmt: skip
def test_what_is_refused(source: str, message: str, tmp_path: Path, compile_c: Compile) -> None:
    with pytest.raises(ObjectError, match=message):
        read_elf(compile_c(source, tmp_path))


def test_host_binaries_are_refused() -> None:
    with pytest.raises(ObjectError, match="not a BPF object"):
        read_elf(Path("/bin/sh").read_bytes())


def test_damaged_objects_raise_only_our_errors(sample_elf: bytes) -> None:
    rng = random.Random(5)
    for _ in range(600):
        bad = bytearray(sample_elf)
        for _ in range(rng.choice((1, 2, 6))):
            bad[rng.randrange(len(bad))] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        if rng.random() < 0.1:
            del bad[rng.randrange(len(bad)) :]
        try:
            obj = read_elf(bytes(bad))
            for program in obj.programs:
                link(program, obj)
        except OsmiaError:
            continue
