"""From an `Object` to programs and maps in the kernel. What fails half-way leaves nothing behind."""

from __future__ import annotations

import os
from struct import Struct, pack, unpack_from

from .. import syscalls
from ..errors import KernelError, MapError, NotSupported, ObjectError
from ..isa.map_types import (
    ARRAY,
    ARRAY_OF_MAPS,
    HASH,
    HASH_OF_MAPS,
    LPM_TRIE,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    PERF_EVENT_ARRAY,
    PROG_ARRAY,
    STACK_TRACE,
)
from ..objects import link
from ._kernel_types import KIND_FUNC, KIND_TYPEDEF, KernelTypes
from ._map import Map
from ._program import Program
from ._relocate import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..objects import LineInfo, LinkedProgram, MapSpec, Object, ProgramSpec

TRACING, STRUCT_OPS, EXT, LSM = 26, 27, 28, 29
TRACE_RAW_TP, TRACE_ITER = 23, 28
KPROBE = 2
_SIZED = (HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH, ARRAY, PERCPU_ARRAY, STACK_TRACE, LPM_TRIE)
MULTI = {42: "kprobe_multi", 48: "uprobe_multi"}  # attach type -> the feature it needs
_LINE = Struct("<IIII")
_FIRST_LOG, _LAST_LOG = 1 << 20, 1 << 24


def link_program(obj: Object, spec: ProgramSpec, types: KernelTypes) -> LinkedProgram:
    """Append the subprograms that are reached, and apply CO-RE relocations."""
    linked = link(spec, obj)
    if linked.core:
        from ..objects import apply_core

        linked = apply_core(linked, obj.btf, types.vmlinux)
    return linked


class BtfData:
    """The object's BTF, with the strings of its line info added at the end, and its fd once it is loaded."""

    def __init__(self, raw: bytes, lines: list[LineInfo]) -> None:
        self.fd = 0
        self.refused = ""
        self._offsets: dict[str, int] = {"": 0}
        self.raw = self._with_strings(raw, lines) if raw else b""

    def _with_strings(self, raw: bytes, lines: list[LineInfo]) -> bytes:
        header, types_at, types_len, strings_at, strings_len = unpack_from("<5I", raw, 4)
        strings = raw[header + strings_at : header + strings_at + strings_len]
        added = bytearray()
        for text in {text for line in lines for text in (line.file, line.text)}:
            if text in self._offsets:
                continue
            encoded = text.encode("utf-8", "surrogateescape") + b"\0"
            at = strings.find(b"\0" + encoded)
            if at < 0:
                at = strings_len + len(added) - 1
                added += encoded
            self._offsets[text] = at + 1
        if not added:
            return raw
        types = raw[header + types_at : header + types_at + types_len]
        head = raw[:8] + pack("<4I", 0, types_len, types_len, strings_len + len(added))
        return head[:4] + pack("<I", 24) + head[8:] + types + strings + added

    def line_info(self, linked: LinkedProgram) -> bytes:
        """Records of `struct bpf_line_info`; every function must start with one."""
        places: dict[int, bytes] = {}
        for line in linked.lines:
            if line.file in self._offsets and line.text in self._offsets:
                col = min(line.col, 1023)
                places[line.insn] = _LINE.pack(
                    line.insn, self._offsets[line.file], self._offsets[line.text], line.line << 10 | col
                )
        if not places:
            return b""
        ordered = sorted(places)
        for start, _ in linked.func_infos:
            if start not in places:
                after = next((i for i in ordered if i > start), ordered[-1])
                places[start] = pack("<I", start) + places[after][4:]
        return b"".join(places[i] for i in sorted(places))

    def close(self) -> None:
        """Drop our reference; programs and maps keep theirs."""
        if self.fd:
            os.close(self.fd)
            self.fd = 0

    def load(self) -> None:
        """Hand it to the kernel; a refusal is kept in `refused` and the object is loaded without types."""
        if not self.raw:
            return
        fd = syscalls.btf_load(self.raw)
        if fd >= 0:
            self.fd = fd
            return
        if fd in (-1, -13):
            raise syscalls.explain("bpf(BPF_BTF_LOAD)", -fd)
        log = syscalls.buffer(1 << 16)
        syscalls.btf_load(self.raw, log=log)
        text: str = log.value.decode(errors="replace")
        self.refused = text.strip().rpartition("\n")[2] or f"errno {-fd}"


def create_map(spec: MapSpec, btf_fd: int, entries: int = 0) -> Map:
    """Create the map that `spec` describes; its types are left out where the kernel does not want them."""
    inner: Map | None = None
    if spec.inner is not None:
        inner = create_map(spec.inner, btf_fd)
    max_entries = entries or spec.max_entries
    if spec.type == PERF_EVENT_ARRAY and not max_entries:
        max_entries = syscalls.possible_cpus()

    def create(fd: int) -> int:
        return syscalls.map_create(
            type=spec.type, key_size=spec.key_size, value_size=spec.value_size, max_entries=max_entries,
            flags=spec.flags, name=spec.name, inner_map_fd=inner.fd if inner else 0, numa_node=spec.numa_node,
            btf_fd=fd, key_type=spec.key_type if fd else 0, value_type=spec.value_type if fd else 0,
            map_extra=spec.map_extra,
        )  # fmt: skip

    try:
        typed = btf_fd if spec.key_type or spec.value_type else 0
        fd = create(typed)
        if fd < 0 and typed and fd not in (-1, -13):
            fd = create(0)
    finally:
        if inner is not None:
            inner.close()
    if fd < 0:
        raise _map_error(spec, max_entries, -fd)
    return Map(fd, spec.name, spec.type, spec.key_size, spec.value_size, max_entries, spec.flags)


def _map_error(spec: MapSpec, max_entries: int, errno: int) -> KernelError | NotSupported:
    if errno in (1, 13):
        return syscalls.explain("bpf(BPF_MAP_CREATE)", errno, spec.name)
    # Scripts call it @name; ELF and the kernel take no such letter.
    of_script = spec.name.startswith("AT_")
    name = "@" + spec.name[3:] if of_script else spec.name
    smaller = f"lower the config max_map_keys, or declare its size: let {name} = hash(1000)"
    if errno == 22:
        from ._features import map_type_support

        lacking = map_type_support(spec.type)
        if lacking:
            return NotSupported(
                f"create map {name}: this kernel has no maps of type {lacking[0]}",
                feature=lacking[0],
                since=lacking[1],
            )
    reasons = {
        7: (f"{max_entries} entries are too many", smaller if of_script else "make max_entries or the value smaller"),
        12: (
            f"not enough memory for {max_entries} entries",
            smaller if of_script else "make max_entries smaller, or raise the memory limit of the cgroup",
        ),
        24: ("too many open files", "raise the limit: ulimit -n 65536"),
        22: (
            f"the kernel refuses type {spec.type}, key {spec.key_size}, value {spec.value_size}, "
            f"{max_entries} entries, flags {spec.flags:#x}",
            "a ring buffer's size must be a power of two and a multiple of the page size; a stack's keys have size 0",
        ),
    }
    if errno == 22 and spec.type in _SIZED and not (max_entries and spec.key_size and spec.value_size):
        return MapError(
            f"create map {name}: it has no size: key {spec.key_size}, value {spec.value_size}, {max_entries} entries",
            errno=errno,
            operation="bpf(BPF_MAP_CREATE)",
            hint="a loader of its own sets it before it loads the object; set max_entries and value_size in the source",
        )
    cause, hint = reasons.get(errno, (os.strerror(errno).lower(), ""))
    return MapError(f"create map {name}: {cause}", errno=errno, operation="bpf(BPF_MAP_CREATE)", hint=hint)


def fill_map(spec: MapSpec, target: Map, contents: bytes | None) -> None:
    """Write a data section's bytes and freeze it if it is read-only."""
    if contents is not None:
        target.update(bytes(4), contents.ljust(spec.value_size, b"\0")[: spec.value_size])
    if spec.frozen:
        try:
            target.freeze()
        except KernelError as error:
            if error.errno != 22:  # before 5.2 there is no BPF_MAP_FREEZE
                raise


def fill_references(spec: MapSpec, maps: Mapping[str, Map], programs: Mapping[str, Program]) -> None:
    """Initial entries of maps of maps and prog arrays: (index, symbol)."""
    for index, symbol in spec.values:
        if spec.type in (ARRAY_OF_MAPS, HASH_OF_MAPS):
            value: Map | Program | None = maps.get(symbol)
        elif spec.type == PROG_ARRAY:
            value = programs.get(symbol)
        else:
            raise ObjectError(f"fill map {spec.name}: maps of type {spec.type} take no references")
        if value is None:
            raise ObjectError(f"fill map {spec.name}: {symbol!r} is not in the object")
        maps[spec.name].update(pack("<I", index), pack("<I", value.fd))


def attach_target(spec: ProgramSpec, types: KernelTypes) -> tuple[int, int]:
    """(BTF id, module BTF fd) of what a tracing or LSM program is loaded for; (0, 0) where its type needs none."""
    if spec.type not in (TRACING, LSM) or not spec.attach_to:
        return 0, 0
    module, _, name = spec.attach_to.rpartition(":")
    prefix, kind = "", KIND_FUNC
    if spec.type == LSM:
        prefix = "bpf_lsm_"
    elif spec.attach_type == TRACE_RAW_TP:
        prefix, kind = "btf_trace_", KIND_TYPEDEF
    elif spec.attach_type == TRACE_ITER:
        prefix = "bpf_iter_"
    full = name if name.startswith(prefix) else prefix + name
    found = types.find(f"{module}:{full}" if module else full, kind)
    if found is None:
        raise NotSupported(
            f"load {spec.name}: the types of this kernel have no {spec.section or full!r}",
            feature=full,
            hint=f"is the module loaded, and is the name right? try: osmia list '*{name}*'",
        )
    return found


def load_program(
    obj: Object,
    spec: ProgramSpec,
    linked: LinkedProgram,
    maps: dict[str, Map],
    btf: BtfData,
    types: KernelTypes,
    log_level: int = 0,
) -> tuple[Program, str]:
    """Load one program: it, and the verifier's log if `log_level` asked for one."""
    insns, modules = resolve(spec.name, linked.insns, linked.relocations, maps, types)
    btf_id, module_fd = attach_target(spec, types)
    func_info = line_info = b""
    if btf.fd and linked.func_infos:
        func_info = b"".join(pack("<II", start, id) for start, id in linked.func_infos)
        line_info = btf.line_info(linked)
    attach_type = _attach_type(obj, spec)
    version = obj.version
    if spec.type == 2 and not version and syscalls.kernel_version() < (5, 0, 0):
        version = kernel_version_code()

    def load(level: int, size: int) -> tuple[int, str]:
        log = syscalls.buffer(size) if size else None
        fd = syscalls.prog_load(
            type=spec.type, insns=insns, license=obj.license, name=spec.name, attach_type=attach_type,
            flags=spec.flags, version=version, btf_fd=btf.fd if func_info else 0, func_info=func_info,
            line_info=line_info, attach_btf_id=btf_id, attach_btf_fd=module_fd,
            fd_array=pack(f"<{len(modules) + 1}i", 0, *modules) if modules else b"", log_level=level, log=log,
        )  # fmt: skip
        return fd, log.value.decode(errors="replace") if log is not None else ""

    fd, log = load(log_level, _LAST_LOG if log_level else 0)
    if fd < 0 and not log:
        # The log doubles the verifier's time, so it is asked for only when there is something to explain.
        fd, log = load(1, _FIRST_LOG)
        if fd == -28:
            fd, log = load(1, _LAST_LOG)
    if fd < 0:
        from ._verifier_log import load_error

        error = load_error(spec, linked, -fd, log)
        if "unknown#" in log:
            from ._core_error import lacks_member

            raise lacks_member(obj, spec, log, error)
        raise error
    return Program(fd, spec.name, spec.type, attach_type, spec.section), log


def _attach_type(obj: Object, spec: ProgramSpec) -> int:
    """How the kernel is told that the program will be attached."""
    kind = spec.attach_type
    if spec.type != KPROBE:
        return kind
    if kind in MULTI:
        return kind if _has_multi(MULTI[kind]) else 0  # 0: attached one by one
    if not kind and _user_only(obj, spec) and not syscalls.has_capability("CAP_SYS_ADMIN"):
        # perf's uprobes take CAP_SYS_ADMIN (perf_uprobe_event_init), multi links what loading takes.
        from ._features import probe_feature

        return syscalls.TRACE_UPROBE_MULTI if probe_feature("uprobe_multi").supported else 0
    return kind


def _user_only(obj: Object, spec: ProgramSpec) -> bool:
    providers = {point.provider for point in obj.attach_points if point.program == spec.name}
    return bool(providers) and providers <= {"uprobe", "uretprobe", "usdt"}


def _has_multi(feature: str) -> bool:
    """Whether one link may take many functions: a matter of version (5.18, 6.6) and, for kprobes, of CONFIG_FPROBE."""
    from ._features import probe_feature

    return probe_feature(feature).supported is not False


def kernel_version_code() -> int:
    """LINUX_VERSION_CODE of this kernel, which kprobe programs before 5.0 must carry."""
    major, minor, patch = syscalls.kernel_version()
    return major << 16 | minor << 8 | min(patch, 255)
