"""Programs in the kernel."""

from __future__ import annotations

from struct import unpack_from

from .. import syscalls
from .._data import Data
from ._descriptor import Descriptor


class ProgramInfo(Data):
    """What the kernel tells about a program. Times are in nanoseconds; run figures need `enable_stats`."""

    id: int
    type: int
    name: str
    tag: str
    jited_size: int
    translated_size: int
    load_time: int
    uid: int
    btf_id: int
    map_ids: tuple[int, ...] = ()
    run_time_ns: int = 0
    run_count: int = 0
    recursion_misses: int = 0
    verified_insns: int = 0


def program_info(fd: int) -> ProgramInfo:
    """Read bpf_prog_info of a program fd."""
    raw = syscalls.info(fd, 232)
    type, id, tag, jited, xlated, _, _, load_time, uid, n_maps = unpack_from("=II8sIIQQQII", raw)
    maps: tuple[int, ...] = ()
    if n_maps:
        maps = _map_ids(fd, n_maps)
    raw = raw.ljust(232, b"\0")
    run_time, run_count, missed, verified = unpack_from("=QQQI", raw, 192)
    return ProgramInfo(
        id=id,
        type=type,
        name=raw[64:80].rstrip(b"\0").decode(errors="replace"),
        tag=tag.hex(),
        jited_size=jited,
        translated_size=xlated,
        load_time=load_time,
        uid=uid,
        btf_id=unpack_from("=I", raw, 128)[0],
        map_ids=maps,
        run_time_ns=run_time,
        run_count=run_count,
        recursion_misses=missed,
        verified_insns=verified,
    )


def _map_ids(fd: int, count: int) -> tuple[int, ...]:
    out = syscalls.buffer(4 * count)
    fill = bytes(52) + count.to_bytes(4, "little") + syscalls.address(out).to_bytes(8, "little")
    raw = syscalls.info(fd, 64, fill)
    (now,) = unpack_from("=I", raw, 52)
    return tuple(unpack_from(f"={min(count, now)}I", out))


class Program(Descriptor):
    """A loaded program."""

    def __init__(self, fd: int, name: str, type: int, attach_type: int = 0, section: str = "") -> None:
        super().__init__(fd, name)
        self.type = type
        self.attach_type = attach_type
        self.section = section

    @property
    def id(self) -> int:
        """The kernel's id of the program."""
        return self.info().id

    def info(self) -> ProgramInfo:
        """Size, maps and run statistics, now."""
        return program_info(self.fd)

    def test_run(
        self,
        data: bytes = b"",
        context: bytes = b"",
        *,
        repeat: int = 0,
        flags: int = 0,
        cpu: int = 0,
        data_out: int = 0,
    ) -> syscalls.TestRun:
        """Run it in the kernel on `data` (a packet) or `context`; KernelError with errno 524 where its type cannot."""
        return syscalls.prog_test_run(
            self.fd, data=data, context=context, repeat=repeat, flags=flags, cpu=cpu, data_out=data_out
        )

    def run_once(self, context: bytes = b"", cpu: int | None = None) -> int:
        """Run a raw tracepoint (since 5.10) or syscall program once, its return value; on CPU `cpu` if given."""
        flags = 0 if cpu is None else 1  # BPF_F_TEST_RUN_ON_CPU
        return syscalls.prog_test_run(self.fd, context=context, flags=flags, cpu=cpu or 0).retval

    def __repr__(self) -> str:
        return f"Program({self.name!r}, type={self.type}, fd={self._fd})"


class enable_stats(Descriptor):
    """Keep run time and run count of all programs while it is open (some 20 ns a run)."""

    def __init__(self) -> None:
        super().__init__(syscalls.enable_stats(), "statistics")
