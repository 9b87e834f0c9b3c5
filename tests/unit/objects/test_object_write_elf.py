"""Writing objects: reading them back gives the same, other readers understand them."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.btf import Btf, BtfBuilder
from osmia.elf import ElfFile
from osmia.errors import ObjectError, OsmiaError
from osmia.objects import (
    AttachPoint,
    CoreRelocation,
    EventFormat,
    Function,
    LineInfo,
    MapFormat,
    MapSpec,
    Object,
    ProgramSpec,
    Relocation,
    ValueType,
    link,
    read_elf,
    write_elf,
)

Compile = Callable[..., bytes]
EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def _call(imm: int = -1) -> bytes:
    return struct.pack("<BBhi", 0x85, 0x10, 0, imm)


def _load(low: int = 0, high: int = 0) -> bytes:
    return struct.pack("<BBhi4xi", 0x18, 2, 0, low, high)


@pytest.fixture
def own() -> Object:
    """As a front-end makes it: names that are no C identifiers, immediates that LLVM left, no `.maps` in its BTF."""
    b = BtfBuilder()
    u64 = b.int("unsigned long long", 8)
    proto = b.func_proto(b.int("int", 4, signed=True), [("ctx", b.ptr(0))])
    kfunc = b.func("bpf_task_release", b.func_proto(0, [("p", b.ptr(0))]), 2)
    entry_id, static_id = b.func("probe_0", proto), b.func("helper", proto, 0)
    key = b.struct("key", 16, [("a", u64, 0), ("b", u64, 64)])
    code = _load(5) + _load() + _call(7) + _load(24) + _call() + _load() + EXIT
    lines = (LineInfo(2, "a.bt", 3, 1, "@x[1] = 2;"), LineInfo(4, "a.bt", 4, 9, "é"))
    entry = Function(
        "probe_0",
        code,
        (
            Relocation(0, "map_value", "strings", 5),
            Relocation(2, "map", "@x"),
            Relocation(4, "call", "helper"),
            Relocation(5, "func", "helper"),
            Relocation(7, "kfunc", "bpf_task_release"),
            Relocation(8, "ksym", "jiffies", weak=True),
        ),
        entry_id,
        lines,
        (CoreRelocation(0, key, "0:1", 0),),
        True,
    )
    other = Function("probe_1", EXIT, type_id=0, is_global=True)
    u = ValueType("int", 8)
    assert kfunc
    return Object(
        programs=(
            ProgramSpec("probe_0", "raw_tp/sched_switch", 17, entry),
            ProgramSpec("probe_1", "raw_tp/sched_switch", 17, other, flags=16, autoload=False),
        ),
        maps=(
            MapSpec("@x", 5, 16, 8, 4096, key_type=key, value_type=u64),
            MapSpec("ring", 27, 0, 0, 1 << 18),
            MapSpec("strings", 2, 4, 12, 1, 128, contents=b"hello\0world\0", frozen=True),
            MapSpec(".bss", 2, 4, 8, 1, contents=bytes(8)),
            MapSpec("progs", 3, 4, 4, 8, values=((1, "probe_1"), (5, "probe_0"))),
            MapSpec("outer", 12, 4, 4, 2, inner=MapSpec("", 2, 4, 8, 4), values=((1, "x"),)),
            MapSpec("x", 2, 4, 8, 4, map_extra=1 << 40, numa_node=0, pinning=1),
        ),
        subprograms=(
            Function("first", EXIT * 3, type_id=0),
            Function("helper", EXIT, type_id=static_id, lines=(LineInfo(0, "a.bt", 9, 1, "x"),)),
        ),
        btf=b.build(),
        license="GPL",
        attach_points=(AttachPoint("begin", "probe_0", "begin"), AttachPoint("interval", "probe_1", period=1000)),
        map_formats=(MapFormat("@x", "@x", u, ValueType("count", 8), True),),
        events=(EventFormat(1, "printf", 16, text="%d\n"),),
        ring="ring",
        probe_names=("begin", "interval:s:1"),
        settings=(("max_map_keys", 10), ("missing_probes", "warn")),
    )


def test_own_object_comes_back_whole(own: Object) -> None:
    assert read_elf(write_elf(own)) == own


def test_object_without_types_comes_back(own: Object) -> None:
    bare = own.replace(
        btf=b"", maps=tuple(m.replace(key_type=0, value_type=0) for m in own.maps),
        programs=tuple(p.replace(function=p.function.replace(type_id=0, core=())) for p in own.programs),
        subprograms=tuple(f.replace(type_id=0, lines=()) for f in own.subprograms),
    )  # fmt: skip
    assert read_elf(write_elf(bare)) == bare


def test_object_of_clang_comes_back(sample_elf: bytes) -> None:
    obj = read_elf(sample_elf)
    again = read_elf(write_elf(obj))
    assert again == obj
    for program in obj.programs:
        assert link(program, again) == link(program, obj)


def test_file_is_what_it_says_without_our_section(own: Object) -> None:
    """libbpf does not know `.osmia`: what it reads must be in the standard sections."""
    data = bytearray(write_elf(own))
    place = data.index(b"\0.osmia\0")
    data[place + 1 : place + 7] = b".other"
    obj = read_elf(bytes(data))
    assert [(m.name, m.type, m.key_size, m.value_size, m.max_entries) for m in obj.maps] == [
        ("_x", 5, 16, 8, 4096), ("ring", 27, 0, 0, 1 << 18), ("x", 2, 4, 8, 4), ("progs", 3, 4, 4, 8),
        ("outer", 12, 4, 4, 2), (".rodata.strings", 2, 4, 12, 1), (".bss", 2, 4, 8, 1),
    ]  # fmt: skip
    assert obj.maps[2].map_extra == 1 << 40
    assert obj.maps[3].values == ((1, "probe_1"), (5, "probe_0")) and obj.maps[4].values == ((1, "x"),)
    btf = Btf(obj.btf)
    assert btf.name(btf.resolve(obj.maps[0].key_type)) == "key"
    kinds = [(r.kind, r.symbol, r.addend) for r in obj.programs[0].function.relocations]
    assert kinds == [
        ("map_value", ".rodata.strings", 5), ("map", "_x", 0), ("call", "helper", 0), ("func", "helper", 0),
        ("kfunc", "bpf_task_release", 0), ("ksym", "jiffies", 0),
    ]  # fmt: skip
    assert [f.name for f in obj.subprograms] == ["first", "helper"]
    # The verifier wants a line record at the start of each function once there are any.
    assert all(f.lines[0].insn == 0 for f in (*obj.subprograms, *(p.function for p in obj.programs)))
    assert obj.programs[0].function.core[0].access == "0:1"


@pytest.mark.parametrize("tool", ["readelf", "llvm-readelf"])
def test_other_readers_find_nothing_wrong(tool: str, own: Object, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    path = tmp_path / "own.bpf.o"
    path.write_bytes(write_elf(own))
    done = subprocess.run([tool, "-hSWsr", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr
    for name in (".maps", ".BTF", ".BTF.ext", ".rodata.strings", "license", "raw_tp/sched_switch", ".rel.text"):
        assert name in done.stdout or name == ".rel.text"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"section": ".text"}, "its section cannot be '.text'"),
        ({"section": ""}, "its section cannot be ''"),
        ({"relocations": (Relocation(0, "map", "@y"),)}, "'@y' is not a map"),
        ({"relocations": (Relocation(0, "map_value", "@x"),)}, "'@x' is not a data section"),
        ({"relocations": (Relocation(4, "call", "gone"),)}, "function 'gone' is missing"),
        ({"relocations": (Relocation(99, "map", "@x"),)}, "fits no instruction"),
        ({"name": "helper"}, "two functions are called 'helper'"),
    ],
)
def test_what_cannot_be_written(change: dict[str, object], message: str, own: Object) -> None:
    program = own.programs[0]
    inner = {k: v for k, v in change.items() if k in ("relocations", "name")}
    outer = {k: v for k, v in change.items() if k == "section"}
    bad = program.replace(function=program.function.replace(**inner), **outer)
    with pytest.raises(ObjectError, match=message):
        write_elf(own.replace(programs=(bad, *own.programs[1:])))


def test_data_in_bss_is_refused(own: Object) -> None:
    with pytest.raises(ObjectError, match=r"\.bss has contents"):
        write_elf(own.replace(maps=(*own.maps[:3], MapSpec(".bss", 2, 4, 4, 1, contents=b"abcd"), *own.maps[4:])))


def test_a_stripped_file_is_refused_not_misread(own: Object) -> None:
    data = write_elf(own)
    file = ElfFile(data)
    osmia = file.section(".osmia")
    assert osmia is not None
    fewer = ElfFile(write_elf(own.replace(programs=own.programs[:1], maps=own.maps[:4]))).section(".osmia")
    assert fewer is not None
    stale = bytearray(data)
    stale[osmia.offset : osmia.offset + osmia.size] = bytes(osmia.size)
    with pytest.raises(ObjectError):
        read_elf(bytes(stale))


def test_damaged_own_files_raise_only_our_errors(own: Object) -> None:
    data = write_elf(own)
    section = ElfFile(data).section(".osmia")
    assert section is not None
    rng = random.Random(6)
    for i in range(600):
        bad = bytearray(data)
        for _ in range(rng.choice((1, 2, 4))):
            inside = section.offset + rng.randrange(section.size)
            bad[inside if i % 2 else rng.randrange(len(bad))] = rng.randrange(256)
        try:
            read_elf(bytes(bad))
        except OsmiaError:
            continue
