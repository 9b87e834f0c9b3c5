"""Helpers that read memory which need not be the program's, and text: probe_read*, strtol, strncmp.

An address is looked for in the machine's regions and in the process that the machine looks at (`machine.process`):
user addresses there first, kernel addresses never. What cannot be read is EFAULT, with the destination zeroed.
"""

from __future__ import annotations

from ..errors import OsmiaError, VmFault
from ._helpers_arguments import room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

EFAULT, EINVAL, ERANGE = 14, 22, 34
_PAGE = 4096
_U32 = 0xFFFFFFFF
USER, KERNEL, EITHER = "user", "kernel", "either"


def peek(m: Machine, address: int, size: int, where: str = EITHER) -> bytes | None:
    """`size` bytes at an address that need not be valid, or None."""
    if where == USER and m.process is not None:
        return _of_process(m, address, size)
    region = m.memory.find(address, size)
    if region is not None:
        return m.memory.read(address, size)
    if where != KERNEL and m.process is not None:
        return _of_process(m, address, size)
    return None


def _of_process(m: Machine, address: int, size: int) -> bytes | None:
    if m.process is None or address >= 1 << 47:
        return None
    try:
        found = m.process.read(address, size)
    except (OsmiaError, OSError, OverflowError):
        return None
    return found if len(found) == size else None


def peek_string(m: Machine, address: int, limit: int, where: str = EITHER) -> bytes | None:
    """The bytes before the NUL, at most `limit`, or None when a byte before it cannot be read."""
    out = bytearray()
    while len(out) < limit:
        # Never over the end of a page: the next one may not be there.
        step = min(limit - len(out), _PAGE - address % _PAGE)
        part = peek(m, address, step, where)
        if part is None:
            part = _region_tail(m, address, step)
            if part is None or b"\0" not in part:
                return None
        out += part
        address += step
        if b"\0" in part:
            return bytes(out[: out.index(b"\0")])
    return bytes(out)


def _region_tail(m: Machine, address: int, step: int) -> bytes | None:
    """What is left of a region that ends within the page."""
    region = m.memory.find(address, 1)
    return m.memory.read(address, min(step, region.end - address)) if region is not None else None


def _probe_read(m: Machine, to: int, size: int, source: int, where: str) -> int:
    size &= _U32
    if not size:
        return 0
    room(m, to, size)
    found = peek(m, source, size, where)
    m.write(to, bytes(size) if found is None else found)
    return -EFAULT if found is None else 0


def _probe_read_str(m: Machine, to: int, size: int, source: int, where: str) -> int:
    size &= _U32
    if not size:
        return 0
    room(m, to, size)
    found = peek_string(m, source, size, where)
    if found is None:
        m.write(to, bytes(size))
        return -EFAULT
    text = found[: size - 1] + b"\0"
    m.write(to, text)
    return len(text)


def probe_read(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _probe_read(m, r1, r2, r3, EITHER)


def probe_read_user(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _probe_read(m, r1, r2, r3, USER)


def probe_read_kernel(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _probe_read(m, r1, r2, r3, KERNEL)


def probe_read_str(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _probe_read_str(m, r1, r2, r3, EITHER)


def probe_read_user_str(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _probe_read_str(m, r1, r2, r3, USER)


def probe_read_kernel_str(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _probe_read_str(m, r1, r2, r3, KERNEL)


def copy_from_user_task(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return -EINVAL if r5 else _probe_read(m, r1, r2, r3, USER)


def probe_write_user(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Into the process if the machine can do that (`process.write`), else into own memory."""
    data = m.read(r2, r3 & _U32)
    write = getattr(m.process, "write", None)
    try:
        if write is not None:
            write(r1, data)
        else:
            m.write(r1, data)
    except (VmFault, OSError, OsmiaError):
        return -EFAULT
    return 0


def strncmp(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    size = r2 & _U32
    left, right = _bounded(m, r1, size), _bounded(m, r3, size)
    return (left > right) - (left < right)


def _bounded(m: Machine, address: int, size: int) -> bytes:
    return m.memory.read_string(address, size) if size else b""


def _number(text: bytes, flags: int) -> tuple[bool, int, int] | int:
    """__bpf_strtoull: (negative, magnitude, bytes consumed), or minus an errno."""
    base = flags & 31
    if flags & ~31 or base not in (0, 8, 10, 16):
        return -EINVAL
    at = len(text) - len(text.lstrip())
    negative = text[at : at + 1] == b"-"
    at += negative
    if at >= len(text):
        return -EINVAL
    rest = text[at:]
    skip = 0
    if rest[:2].lower() == b"0x" and (base == 16 or (base == 0 and len(rest) > 2 and _digit(rest[2]) < 16)):
        base, skip = 16, 2
    elif base == 0:
        base = 8 if rest[:1] == b"0" else 10
    end = len(rest) - len(rest[skip:].lstrip(b"0"))
    value = 0
    while end < len(rest) and _digit(rest[end]) < base and value < 1 << 64:
        value = value * base + _digit(rest[end])
        end += 1
    if end == skip:
        return -EINVAL
    if value >= 1 << 64:
        return -ERANGE
    return negative, value, at + end


def _digit(byte: int) -> int:
    character = chr(byte)
    return int(character, 36) if byte < 128 and character.isalnum() else 99


def strtol(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = _number(m.read(r1, r2).split(b"\0", 1)[0], r3)
    if isinstance(found, int):
        m.write(r4, bytes(8))
        return found
    negative, value, used = found
    value = -value if negative else value
    if not -(1 << 63) <= value < 1 << 63:
        m.write(r4, bytes(8))
        return -ERANGE
    m.memory.store(r4, 8, value)
    return used


def strtoul(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = _number(m.read(r1, r2).split(b"\0", 1)[0], r3)
    if isinstance(found, int) or found[0]:
        m.write(r4, bytes(8))
        return found if isinstance(found, int) else -EINVAL
    m.memory.store(r4, 8, found[1])
    return found[2]


TABLE: dict[str, Helper] = {
    "probe_read": probe_read,
    "probe_read_user": probe_read_user,
    "probe_read_kernel": probe_read_kernel,
    "probe_read_str": probe_read_str,
    "probe_read_user_str": probe_read_user_str,
    "probe_read_kernel_str": probe_read_kernel_str,
    "copy_from_user": probe_read_user,
    "copy_from_user_task": copy_from_user_task,
    "probe_write_user": probe_write_user,
    "strncmp": strncmp,
    "strtol": strtol,
    "strtoul": strtoul,
}
