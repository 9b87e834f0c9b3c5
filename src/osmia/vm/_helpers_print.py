"""trace_printk, trace_vprintk, snprintf, seq_printf: the kernel's format strings (bpf_bprintf_prepare)."""

from __future__ import annotations

from ._helpers_memory import KERNEL, USER, peek, peek_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

EINVAL, E2BIG, EBUSY = 22, 7, 16
_U32 = 0xFFFFFFFF
_LIMIT = 1024  # MAX_BPRINTF_BUF
_WIDTH = (1 << 23) - 1  # FIELD_WIDTH_MAX
_TEXT = 512  # MAX_BPRINTF_STRING
_MAX_ARGUMENTS = 12  # MAX_BPRINTF_VARARGS


class Format:
    """Formats one string; `error` is set to an errno where the kernel refuses it."""

    def __init__(self, m: Machine, text: bytes, arguments: list[int]) -> None:
        self.m = m
        self.text = text
        self.arguments = arguments
        self.used = 0
        self.error = 0
        self.out: list[bytes] = []

    def run(self) -> bytes | int:
        """The formatted bytes, or minus an errno."""
        text, at = self.text, 0
        while at < len(text):
            byte = text[at]
            if byte >= 128 or (not 32 <= byte < 127 and byte not in b" \t\n\v\f\r"):
                return -EINVAL
            if byte != 0x25:
                self.out.append(text[at : at + 1])
                at += 1
                continue
            if text[at + 1 : at + 2] == b"%":
                self.out.append(b"%")
                at += 2
                continue
            at = self._conversion(at + 1)
            if self.error:
                return -self.error
        return b"".join(self.out)

    def _conversion(self, at: int) -> int:
        text = self.text
        if self.used >= len(self.arguments):
            self.error = EINVAL
            return at
        value = self.arguments[self.used]
        self.used += 1
        start = at
        while text[at : at + 1] in (b"0", b"+", b"-", b" "):
            at += 1
        flags = text[start:at].decode()
        start = at
        while text[at : at + 1].isdigit():
            at += 1
        width = min(int(text[start:at][:9] or b"0"), _WIDTH)
        kind = text[at : at + 1]
        if kind == b"p":
            return self._pointer(at + 1, flags, width, value)
        if kind == b"s":
            self._string(value, KERNEL, flags, width)
            return at + 1
        if kind == b"c":
            self._pad(bytes([value & 0xFF]), flags.replace("0", ""), width)
            return at + 1
        bits = 32
        while text[at : at + 1] == b"l":
            bits = 64
            at += 1
        kind = text[at : at + 1]
        if kind not in (b"i", b"d", b"u", b"x", b"X"):
            self.error = EINVAL
            return at
        self._integer(kind, value & (1 << bits) - 1, bits, flags, width)
        return at + 1

    def _integer(self, kind: bytes, value: int, bits: int, flags: str, width: int) -> None:
        sign = ""
        if kind in b"di":
            if value >> (bits - 1):
                value -= 1 << bits
            sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
            digits = str(abs(value))
        elif kind == b"u":
            digits = str(value)
        else:
            digits = f"{value:x}" if kind == b"x" else f"{value:X}"
        if "0" in flags and "-" not in flags:
            digits = digits.rjust(width - len(sign), "0")
        self._pad((sign + digits).encode(), flags, width)

    def _pad(self, data: bytes, flags: str, width: int) -> None:
        self.out.append(data.ljust(width) if "-" in flags else data.rjust(width))

    def _string(self, address: int, where: str, flags: str, width: int) -> None:
        found = peek_string(self.m, address, _TEXT - 1, where)
        self._pad(found or b"", flags, width)

    def _pointer(self, at: int, flags: str, width: int, value: int) -> int:
        text = self.text
        kind, then = text[at : at + 1], text[at + 1 : at + 2]
        if kind in (b"k", b"u") and then == b"s":
            self._string(value, KERNEL if kind == b"k" else USER, flags, width)
            return at + 2
        if kind in (b"i", b"I"):
            return self._address(at, kind, then, value)
        if kind in (b"K", b"x", b"s", b"S", b"B"):
            if kind == b"x":
                self._hexadecimal(value, flags, width)
            else:
                self._pad(_symbol(self.m, value, kind).encode(), flags, width)
            return at + 1
        if kind and not kind.isspace() and (kind.isalnum() or kind == b"_"):
            self.error = EINVAL
            return at
        self._hexadecimal(value, flags, width)  # the kernel prints a hash of it here
        return at

    def _hexadecimal(self, value: int, flags: str, width: int) -> None:
        """Zeros up to 16 digits, or as many places as were asked for."""
        digits = f"{value:x}"
        if not width or ("0" in flags and "-" not in flags):
            digits = digits.rjust(width or 16, "0")
        self._pad(digits.encode(), flags, width)

    def _address(self, at: int, kind: bytes, version: bytes, value: int) -> int:
        if version not in (b"4", b"6"):
            self.error = EINVAL
            return at
        size = 4 if version == b"4" else 16
        data = peek(self.m, value, size, KERNEL) or bytes(size)
        if size == 4:
            text = ".".join(f"{b:03d}" if kind == b"i" else str(b) for b in data)
        else:
            groups = [data[i : i + 2].hex() for i in range(0, 16, 2)]
            text = "".join(groups) if kind == b"i" else ":".join(groups)
        self.out.append(text.encode())
        return at + 2


def _symbol(m: Machine, address: int, kind: bytes) -> str:
    """%ps, %pS, %pB: a name if the machine knows names (`machine.data["symbolize"]`), else the number."""
    lookup = m.data.get("symbolize")
    if lookup is not None and kind in b"sSB":
        return str(lookup(address))
    return f"0x{address:x}" if kind in b"sSB" else f"{address:016x}"


def format_text(m: Machine, text: bytes, arguments: list[int]) -> bytes | int:
    """Format as the kernel's bstr_printf, cut to its buffer; minus an errno where it refuses."""
    return Format(m, text, arguments).run()


def _text(m: Machine, address: int, size: int) -> bytes | int:
    data = m.read(address, size)
    return data[: data.index(b"\0")] if b"\0" in data else -EINVAL


def _print(m: Machine, text: bytes | int, arguments: list[int]) -> int:
    made = format_text(m, text, arguments) if isinstance(text, bytes) else text
    if isinstance(made, int):
        return made
    line = made[: _LIMIT - 1].decode("utf-8", "replace")
    m.print(line[:-1] if line.endswith("\n") else line)
    return len(made)


def trace_printk(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _print(m, _text(m, r1, r2 & _U32), [r3, r4, r5])


def words(m: Machine, address: int, size: int) -> list[int] | int:
    """The arguments of the helpers that take an array of u64: `size` bytes, or -EINVAL."""
    if size & 7 or size > _MAX_ARGUMENTS * 8 or (size and not address):
        return -EINVAL
    data = m.read(address, size)
    return [int.from_bytes(data[at : at + 8], "little") for at in range(0, size, 8)]


def trace_vprintk(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    arguments = words(m, r3, r4 & _U32)
    return arguments if isinstance(arguments, int) else _print(m, _text(m, r1, r2 & _U32), arguments)


def snprintf(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """str, str_size, fmt, data, data_len: the length with its NUL, also when it was cut."""
    size = r2 & _U32
    arguments = words(m, r4, r5 & _U32)
    if isinstance(arguments, int):
        return arguments
    made = format_text(m, m.memory.read_string(r3, 4096), arguments)
    if isinstance(made, int):
        return made
    if size:
        m.write(r1, made[: size - 1] + b"\0")
    return len(made) + 1


TABLE: dict[str, Helper] = {
    "trace_printk": trace_printk,
    "trace_vprintk": trace_vprintk,
    "snprintf": snprintf,
}
