"""Read a kernel's helper prototypes out of its memory, for gen_verifier_prototypes.py."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from struct import unpack, unpack_from

from measure_verifier import ROOMS, Kernel

from osmia.btf import KIND_ENUM, KIND_STRUCT, Btf
from osmia.isa._tables import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

TRACEFS = "/sys/kernel/tracing"
GROUP = "osmia_protos"
_FLAGS = ("gpl_only", "pkt_access", "might_sleep", "allow_fastcall")
_OBJECT = re.compile(r"(bpf|sk)_\w+_proto(_\w+)?")


def measure(path: str) -> None:
    """Write {"enums", "protos": symbol -> fields, "allowed": "TYPE/ATTACH" -> helper -> {"ok", "proto"}} as JSON."""
    kernel = Kernel()
    addresses: dict[int, str] = {}
    with open("/proc/kallsyms") as f:
        for line in f:
            words = line.split()
            addresses[int(words[0], 16)] = words[2]
    chosen: set[int] = {a for a, s in addresses.items() if _OBJECT.fullmatch(s) and "func_proto" not in s}
    allowed: dict[str, dict[str, dict[str, Any]]] = {}
    with _return_probes(addresses) as drain:
        for room in ROOMS:
            if kernel.exits(room) is None:
                continue
            here = allowed["/".join(room)] = {}
            for name, number in table("HELPERS").items():
                if not number:
                    continue
                here[name] = {"ok": not kernel.may_call(room, number)}
                address = drain()
                if address:
                    chosen.add(address)
                    here[name]["proto"] = addresses.get(address, hex(address))
    protos = {}
    with _Memory() as memory:
        for address in sorted(chosen):
            fields = _object(kernel.btf, memory, address)
            if fields and fields["func"]:  # kernel/bpf/core.c has empty ones too, for what is not built in
                protos[addresses.get(address, hex(address))] = {
                    **fields, "cond": addresses.get(fields["cond"] or -1), "func": addresses.get(fields["func"])
                }  # fmt: skip
    with open(path, "w") as f:
        json.dump({"enums": _enums(kernel.btf), "protos": protos, "allowed": allowed}, f)


@contextmanager
def _return_probes(addresses: dict[int, str]) -> Iterator[Callable[[], int]]:
    """Probes on what the functions that choose prototypes return; gives a function: the last since its last call."""
    # open(..., "a") seeks, which this file does not allow.
    control = os.open(f"{TRACEFS}/kprobe_events", os.O_WRONLY | os.O_APPEND)
    for symbol in sorted(set(addresses.values())):
        if symbol.endswith("func_proto") and not symbol.startswith("__"):
            try:
                os.write(control, f"r:{GROUP}/{symbol} {symbol} p=$retval\n".encode())
            except OSError as e:
                print(f"no probe on {symbol}: {e.strerror}")
    with open(f"{TRACEFS}/events/{GROUP}/enable", "w") as f:
        f.write("1")
    pipe = os.open(f"{TRACEFS}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)

    def drain() -> int:
        text = b""
        try:
            while True:
                text += os.read(pipe, 1 << 16)
        except BlockingIOError:
            found = re.findall(rb" p=(0x[0-9a-f]+)", text)
        return int(found[-1], 16) if found else 0

    drain()
    try:
        yield drain
    finally:
        os.close(pipe)
        with open(f"{TRACEFS}/events/{GROUP}/enable", "w") as f:
            f.write("0")
        os.write(control, f"-:{GROUP}/\n".encode())
        os.close(control)


class _Memory:
    """The kernel's memory by virtual address: /proc/kcore is an ELF file with one segment per range."""

    def __enter__(self) -> _Memory:
        self._file = open("/proc/kcore", "rb", buffering=0)
        head = self._file.read(64)
        self._file.seek(unpack_from("<Q", head, 32)[0])
        count = unpack_from("<H", head, 56)[0]
        rows = [unpack("<IIQQQQQQ", self._file.read(56)) for _ in range(count)]
        self._ranges = [(start, size, offset) for _, _, offset, start, _, _, size, _ in rows]
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def read(self, address: int, size: int) -> bytes:
        for start, length, offset in self._ranges:
            if start <= address < start + length:
                self._file.seek(offset + address - start)
                return self._file.read(size)
        return b""


def _object(btf: Btf, memory: _Memory, address: int) -> dict[str, Any] | None:
    """One `struct bpf_func_proto`; None if there is none at that address."""
    at = _offsets(btf, btf.find("bpf_func_proto", KIND_STRUCT) or 0)
    raw = memory.read(address, max(at.values()) + 8)
    if len(raw) <= max(at.values()):
        return None
    detail: list[int | str] = []
    for value in (*unpack_from("<5Q", raw, at["arg_btf_id"]), *unpack_from("<Q", raw, at["ret_btf_id"])):
        if value < 1 << 48:
            detail.append(value)
            continue
        id = memory.read(value, 4)
        detail.append((btf.type(unpack("<I", id)[0]).name if id else "") or "?")
    return {
        **{flag: raw[at[flag]] for flag in _FLAGS if flag in at},
        "func": unpack_from("<Q", raw, at["func"])[0],
        "cond": unpack_from("<Q", raw, at["allowed"])[0],
        "ret": unpack_from("<I", raw, at["ret_type"])[0],
        "args": unpack_from("<5I", raw, at["arg_type"]),
        "b": detail,
    }


def _offsets(btf: Btf, id: int, base: int = 0) -> dict[str, int]:
    """Member -> offset in bytes, through anonymous unions."""
    out: dict[str, int] = {}
    for member in btf.type(id).members:
        offset = base + member.bit_offset // 8
        if member.name:
            out.setdefault(member.name, offset)
        else:
            out |= {k: v for k, v in _offsets(btf, member.type_id, offset).items() if k not in out}
    return out


def _enums(btf: Btf) -> dict[str, dict[str, int]]:
    out = {}
    for name in ("bpf_arg_type", "bpf_return_type", "bpf_type_flag"):
        id = btf.find(name, KIND_ENUM)
        if id is None:
            raise SystemExit(f"this kernel's BTF has no enum {name}")
        out[name] = {v.name: v.value for v in btf.type(id).values}
    return out
