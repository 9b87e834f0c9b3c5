"""Small programs for the tests, assembled by hand: a fault of the assembler must not hide one of the loader."""

from __future__ import annotations

from struct import pack as pack_bytes

from osmia.objects import Function, MapSpec, Object, ProgramSpec, Relocation

RAW_TP, TRACEPOINT, PERF_EVENT, KPROBE, TRACING, XDP, SCHED_CLS = 17, 5, 7, 2, 26, 6, 3


def ins(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return pack_bytes("<BBhi", op, dst | src << 4, off, imm)


def load_map(dst: int) -> bytes:
    return ins(0x18, dst) + ins(0)


RETURN_0 = ins(0xB7) + ins(0x95)
COUNTS = MapSpec("counts", 2, 4, 8, 1)


def count_function(name: str = "count", result: int = 0) -> Function:
    """counts[0] += 1, atomically."""
    code = (
        ins(0x62, 10, 0, -4, 0)
        + ins(0xBF, 2, 10)
        + ins(0x07, 2, 0, 0, -4)
        + load_map(1)
        + ins(0x85, imm=1)
        + ins(0x15, 0, 0, 2)
        + ins(0xB7, 1, imm=1)
        + ins(0xDB, 0, 1)
        + ins(0xB7, 0, imm=result)
        + ins(0x95)
    )
    return Function(name, code, (Relocation(3, "map", "counts"),))


def count_object(type: int, attach_type: int = 0, attach_to: str = "", result: int = 0) -> Object:
    """One program "count" of this type, with an array map "counts" of one u64."""
    spec = ProgramSpec("count", "test", type, count_function(result=result), attach_type, attach_to)
    return Object((spec,), (COUNTS,))


def flat_object(code: bytes, type: int = RAW_TP, name: str = "p") -> Object:
    """One program of these very instructions, without maps."""
    return Object((ProgramSpec(name, "test", type, Function(name, code)),), ())


def ring_object(records: int, size: int = 56, ring_size: int = 1 << 20, perf: bool = False, flags: int = 1) -> Object:
    """A program that outputs `records` records of `size` bytes (the first 8 count up); returns how many were lost."""
    init = b"".join(ins(0x7A, 10, 0, -at) for at in range(8, size + 8, 8)) + ins(0xBF, 8, 1)
    store = ins(0x7B, 10, 6, -size)
    if perf:
        # bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, data, size)
        call = (
            ins(0xBF, 1, 8)
            + load_map(2)
            + ins(0x18, 3, imm=-1)
            + ins(0)
            + ins(0xBF, 4, 10)
            + ins(0x07, 4, imm=-size)
            + ins(0xB7, 5, imm=size)
            + ins(0x85, imm=25)
        )
        map_at = len(init) // 8 + 2 + 2
        error = 28  # ENOSPC
    else:
        # bpf_ringbuf_output(map, data, size, flags)
        call = (
            load_map(1)
            + ins(0xBF, 2, 10)
            + ins(0x07, 2, imm=-size)
            + ins(0xB7, 3, imm=size)
            + ins(0xB7, 4, imm=flags)
            + ins(0x85, imm=130)
        )
        map_at = len(init) // 8 + 2 + 1
        error = 11  # EAGAIN
    loop = store + call + ins(0x1F, 7, 0) + ins(0x07, 6, imm=1)
    back = -(len(loop) // 8 + 1)
    code = (
        init + ins(0xB7, 6) + ins(0xB7, 7) + loop + ins(0xA5, 6, 0, back, records)
        + ins(0xBF, 0, 7) + ins(0x37, 0, imm=error) + ins(0x95)
    )  # fmt: skip
    function = Function("produce", code, (Relocation(map_at, "map", "ring"),))
    ring = MapSpec("ring", 4, 4, 4, 0) if perf else MapSpec("ring", 27, 0, 0, ring_size)
    return Object((ProgramSpec("produce", "test", RAW_TP, function),), (ring,))
