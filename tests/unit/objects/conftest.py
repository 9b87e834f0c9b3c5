"""An object that uses every record class and most kinds of values; and clang for tests that need real ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.objects import (
    AttachPoint,
    CoreRelocation,
    EventFormat,
    Field,
    Function,
    LineInfo,
    MapFormat,
    MapSpec,
    Object,
    ProgramSpec,
    Relocation,
    ValueType,
)

sys.path.insert(0, str(Path(__file__).parent))

from clang_bpf import SAMPLE, compile_bpf

EXIT = bytes.fromhex("b700000000000000 9500000000000000")


def full_object() -> Object:
    u64 = ValueType("int", 8)
    pair = ValueType("tuple", 24, fields=(Field("0", 0, u64), Field("1", 8, ValueType("string", 16))))
    flags = ValueType("enum", 4, values=((-1, "ALL"), (1 << 40, "HIGH")), element=u64, bounds=(-5, 100, 3))
    lines = tuple(LineInfo(i, "script.bt", i + 1, 3 * i, f"  @x[{i}] = 1;") for i in range(20))
    body = Function(
        "probe_0",
        EXIT * 30,
        (Relocation(0, "map", "counts"), Relocation(4, "call", "helper"), Relocation(6, "ksym", "jiffies", 0, True)),
        7,
        lines,
        (CoreRelocation(2, 3, "0:1:2", 0),),
    )
    return Object(
        programs=(ProgramSpec("probe_0", "tracepoint/syscalls/sys_enter_openat", 5, body),),
        maps=(
            MapSpec("counts", 5, 16, 8, 4096, key_type=2, value_type=3),
            MapSpec(".rodata", 2, 4, 11, 1, contents=b"hello\0\xff\x00abc", frozen=True),
            MapSpec("outer", 12, 4, 4, 8, inner=MapSpec("", 1, 4, 8, 16), values=((0, "counts"), (3, "counts"))),
        ),
        subprograms=(Function("helper", EXIT, is_global=True),),
        btf=bytes(range(256)) * 3,
        license="Dual BSD/GPL",
        version=0x60601,
        attach_points=(AttachPoint("tracepoint", "probe_0", "tracepoint:syscalls:sys_enter_openat", "syscalls",
                                   "sys_enter_openat", offsets=(1 << 63, 0), address=(1 << 64) - 1),),
        map_formats=(MapFormat("@x", "counts", pair, ValueType("count", 8), True), MapFormat("@", "c", None, flags)),
        events=(EventFormat(3, "printf", 32, pair.fields, "%d é \udc80\n", (("top", 5), ("map", "@x"))),),
        ring="ring",
        loss="loss",
        probe_names=("a", "b", "c", "d", "e"),
        settings=(("max_map_keys", 4096), ("on_stack_limit", 32), ("missing_probes", "warn")),
    )  # fmt: skip


@pytest.fixture
def obj() -> Object:
    return full_object()


@pytest.fixture(scope="session")
def compile_c() -> Callable[..., bytes]:
    """`compile_c(source, folder, cpu=, flags=)` -> bytes of the object; skips where there is no clang."""
    return compile_bpf


@pytest.fixture(scope="session")
def sample_elf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """clang's object of `clang_bpf.SAMPLE`."""
    return compile_bpf(SAMPLE, tmp_path_factory.mktemp("clang"))
