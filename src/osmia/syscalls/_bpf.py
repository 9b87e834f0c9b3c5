"""bpf(2) commands on programs, BTF, pins, ids and statistics. Sizes and offsets follow `union bpf_attr`.

Only the part of the attribute that a command uses is handed over: older kernels refuse trailing bytes that
are not zero, and newer ones take a short attribute as zero-filled.
"""

from __future__ import annotations

from struct import Struct, unpack_from

from ._call import address, bpf, buffer, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array, c_char

# enum bpf_cmd
PROG_LOAD, OBJ_PIN, OBJ_GET, PROG_ATTACH, PROG_DETACH, PROG_TEST_RUN = 5, 6, 7, 8, 9, 10
PROG_GET_NEXT_ID, MAP_GET_NEXT_ID, PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID, OBJ_GET_INFO = 11, 12, 13, 14, 15
BTF_LOAD, BTF_GET_FD_BY_ID, TASK_FD_QUERY, BTF_GET_NEXT_ID = 18, 19, 20, 23
LINK_GET_FD_BY_ID, LINK_GET_NEXT_ID, ENABLE_STATS, ITER_CREATE = 30, 31, 32, 33
PROG_BIND_MAP, TOKEN_CREATE = 35, 36

_NEXT_ID = {"prog": PROG_GET_NEXT_ID, "map": MAP_GET_NEXT_ID, "btf": BTF_GET_NEXT_ID, "link": LINK_GET_NEXT_ID}
_FD_BY_ID = {"prog": PROG_GET_FD_BY_ID, "map": MAP_GET_FD_BY_ID, "btf": BTF_GET_FD_BY_ID, "link": LINK_GET_FD_BY_ID}

_LOAD = Struct("=IIQQIIQII16sIIIIQIIQIIIIQQIIII")
_TEST = Struct("=IIIIQQIIIIQQIII")


def object_name(name: str) -> bytes:
    """`name` as the kernel takes it: at most 15 of letters, digits, `_` and `.`, the others turned into `_`."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
    return kept[:15].encode()


def prog_load(
    *,
    type: int,
    insns: bytes,
    license: str = "GPL",
    name: str = "",
    attach_type: int = 0,
    flags: int = 0,
    version: int = 0,
    btf_fd: int = 0,
    func_info: bytes = b"",
    func_info_size: int = 8,
    line_info: bytes = b"",
    line_info_size: int = 16,
    attach_btf_id: int = 0,
    attach_btf_fd: int = 0,
    fd_array: bytes = b"",
    ifindex: int = 0,
    token_fd: int = 0,
    log_level: int = 0,
    log: Array[c_char] | None = None,
) -> int:
    """BPF_PROG_LOAD: the program's fd, or minus the errno.

    `log` receives the verifier's text, NUL-terminated. Errors are returned, not raised, since the caller decides
    whether to try again (with a log, or without BTF). `attach_btf_fd` is the fd of a module's BTF or of a program.
    """
    license_text = license.encode() + b"\0"
    if token_fd:
        flags |= 1 << 16  # BPF_F_TOKEN_FD
    attr = _LOAD.pack(
        type, len(insns) // 8, address(insns), address(license_text),
        log_level if log is not None else 0, len(log) if log is not None else 0, address(log),
        version, flags, object_name(name), ifindex, attach_type,
        btf_fd, func_info_size if func_info else 0, address(func_info), len(func_info) // func_info_size,
        line_info_size if line_info else 0, address(line_info), len(line_info) // line_info_size,
        attach_btf_id, attach_btf_fd, 0, address(fd_array), 0, 0, 0, token_fd, 0,
    )  # fmt: skip
    # Kernels before 6.4 do not know log_true_size, which the kernel writes: such an attribute must be writable.
    return bpf(PROG_LOAD, buffer(attr[: 144 + 8 * bool(token_fd)]))


def btf_load(data: bytes, *, log: Array[c_char] | None = None, token_fd: int = 0) -> int:
    """BPF_BTF_LOAD: an fd, or minus the errno; `log` receives the reason."""
    attr = Struct("=QQIIIIII").pack(
        address(data), address(log), len(data), len(log) if log is not None else 0, 1 if log is not None else 0,
        0, 1 << 16 if token_fd else 0, token_fd,
    )  # fmt: skip
    return bpf(BTF_LOAD, buffer(attr[: 40 if token_fd else 32]))


class TestRun:
    """What BPF_PROG_TEST_RUN gave back: return value, mean `duration` of a run in ns, data and context after it."""

    __slots__ = ("context", "data", "duration", "retval")
    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, retval: int, duration: int, data: bytes, context: bytes) -> None:
        self.retval = retval
        self.duration = duration
        self.data = data
        self.context = context


def prog_test_run(
    fd: int,
    *,
    data: bytes = b"",
    context: bytes = b"",
    data_out: int = 0,
    repeat: int = 0,
    flags: int = 0,
    cpu: int = 0,
    batch_size: int = 0,
) -> TestRun:
    """BPF_PROG_TEST_RUN. `data_out` is room for the packet afterwards; `context` is copied in and out."""
    out = buffer(data_out) if data_out else None
    # raw_tracepoint programs refuse room for a context to come back (bpf_prog_test_run_raw_tp).
    ctx_out = buffer(len(context)) if context and data else None
    attr = buffer(
        _TEST.pack(
            fd, 0, len(data), data_out, address(data), address(out), repeat, 0,
            len(context), len(context) if ctx_out is not None else 0, address(context), address(ctx_out),
            flags, cpu, batch_size,
        )[: 76 if batch_size else 72]
    )  # fmt: skip
    result = bpf(PROG_TEST_RUN, attr)
    if result < 0:
        raise error("bpf(BPF_PROG_TEST_RUN)", -result)
    retval, _, size = unpack_from("=III", attr, 4)
    (duration,) = unpack_from("=I", attr, 36)
    (ctx_size,) = unpack_from("=I", attr, 44)
    return TestRun(
        retval,
        duration,
        out.raw[:size] if out is not None else b"",
        ctx_out.raw[:ctx_size] if ctx_out is not None else b"",
    )


def pin(fd: int, path: str) -> None:
    """BPF_OBJ_PIN: give a map, program or link a name in bpffs."""
    name = path.encode("utf-8", "surrogateescape") + b"\0"
    result = bpf(OBJ_PIN, Struct("=QII").pack(address(name), fd, 0))
    if result < 0:
        raise error("bpf(BPF_OBJ_PIN)", -result, path)


def get_pinned(path: str) -> int:
    """BPF_OBJ_GET: an fd of the object pinned at `path`."""
    name = path.encode("utf-8", "surrogateescape") + b"\0"
    result = bpf(OBJ_GET, Struct("=QII").pack(address(name), 0, 0))
    if result < 0:
        raise error("bpf(BPF_OBJ_GET)", -result, path)
    return result


def prog_attach(target_fd: int, prog_fd: int, attach_type: int, flags: int = 0) -> None:
    """BPF_PROG_ATTACH, for cgroup and sockmap hooks of kernels without links."""
    result = bpf(PROG_ATTACH, Struct("=IIIII").pack(target_fd, prog_fd, attach_type, flags, 0))
    if result < 0:
        raise error("bpf(BPF_PROG_ATTACH)", -result)


def prog_detach(target_fd: int, prog_fd: int, attach_type: int) -> None:
    """BPF_PROG_DETACH."""
    result = bpf(PROG_DETACH, Struct("=IIIII").pack(target_fd, prog_fd, attach_type, 0, 0))
    if result < 0:
        raise error("bpf(BPF_PROG_DETACH)", -result)


def ids(kind: str) -> list[int]:
    """All ids of `kind` ("prog", "map", "btf" or "link") in the kernel; needs CAP_SYS_ADMIN."""
    found: list[int] = []
    command = _NEXT_ID[kind]
    attr = buffer(12)
    last = 0
    while True:
        attr.raw = Struct("=III").pack(last, 0, 0)
        result = bpf(command, attr)
        if result == -2:
            return found
        if result < 0:
            raise error(f"bpf(BPF_{kind.upper()}_GET_NEXT_ID)", -result)
        (last,) = unpack_from("=I", attr, 4)
        found.append(last)


def fd_by_id(kind: str, id: int) -> int:
    """An fd of the object with this id, or minus the errno (2: it is gone)."""
    return bpf(_FD_BY_ID[kind], Struct("=III").pack(id, 0, 0))


def info(fd: int, size: int, fill: bytes = b"") -> bytes:
    """BPF_OBJ_GET_INFO_BY_FD: up to `size` bytes of bpf_prog_info, bpf_map_info, bpf_btf_info or bpf_link_info.

    `fill` is what the structure holds on entry (addresses of arrays that the kernel is to fill).
    """
    out = buffer(fill, size) if fill else buffer(size)
    attr = buffer(Struct("=IIQ").pack(fd, size, address(out)))
    result = bpf(OBJ_GET_INFO, attr)
    if result < 0:
        raise error("bpf(BPF_OBJ_GET_INFO_BY_FD)", -result)
    (length,) = unpack_from("=I", attr, 4)
    return out.raw[:length]


def enable_stats(kind: int = 0) -> int:
    """BPF_ENABLE_STATS: run time statistics are kept while the returned fd is open (since 5.8)."""
    result = bpf(ENABLE_STATS, Struct("=I").pack(kind))
    if result < 0:
        raise error("bpf(BPF_ENABLE_STATS)", -result)
    return result


def iter_create(link_fd: int) -> int:
    """BPF_ITER_CREATE: an fd that reads the output of one run of the iterator."""
    result = bpf(ITER_CREATE, Struct("=II").pack(link_fd, 0))
    if result < 0:
        raise error("bpf(BPF_ITER_CREATE)", -result)
    return result


def prog_bind_map(prog_fd: int, map_fd: int) -> None:
    """BPF_PROG_BIND_MAP: keep a map alive as long as the program (since 5.10)."""
    result = bpf(PROG_BIND_MAP, Struct("=III").pack(prog_fd, map_fd, 0))
    if result < 0:
        raise error("bpf(BPF_PROG_BIND_MAP)", -result)


def token_create(bpffs_fd: int) -> int:
    """BPF_TOKEN_CREATE: a token that delegates what the bpffs mount at `bpffs_fd` allows (since 6.9)."""
    result = bpf(TOKEN_CREATE, Struct("=II").pack(0, bpffs_fd))
    if result < 0:
        raise error("bpf(BPF_TOKEN_CREATE)", -result)
    return result


def task_fd_query(pid: int, fd: int) -> tuple[int, int, str, int, int]:
    """BPF_TASK_FD_QUERY: (prog id, fd type, name, offset, address) of a perf event or raw tracepoint fd."""
    name = buffer(256)
    attr = buffer(Struct("=IIIIQIIQQ").pack(pid, fd, 0, 256, address(name), 0, 0, 0, 0))
    result = bpf(TASK_FD_QUERY, attr)
    if result < 0:
        raise error("bpf(BPF_TASK_FD_QUERY)", -result)
    prog, kind, offset, addr = unpack_from("=IIQQ", attr, 24)
    return prog, kind, name.value.decode(errors="replace"), offset, addr
