"""The `format` files of tracefs: which fields a tracepoint's record has."""

from __future__ import annotations

from .._data import Data
from ..errors import FormatError


class TracepointField(Data):
    """One field of a tracepoint's record.

    `type` is the C type without what belongs to the array: "char", "const char *", "pid_t". `count` is the number of
    elements of an array, 0 for none, -1 for an array whose length only the record knows (`dynamic`).
    dynamic: "" | "data_loc" (u32 at `offset`: length << 16 | offset from the record's start) | "rel_loc" (offset
    from the end of that u32). `common` marks the fields that every tracepoint has.
    """

    name: str
    type: str
    offset: int
    size: int
    signed: bool = False
    count: int = 0
    dynamic: str = ""
    common: bool = False

    @property
    def is_string(self) -> bool:
        """Whether it holds characters: char arrays, fixed or dynamic."""
        return self.count != 0 and self.type in ("char", "const char")

    @property
    def is_pointer(self) -> bool:
        """Whether it is an address (an array of pointers is not)."""
        return not self.count and self.type.endswith("*")

    @property
    def declaration(self) -> str:
        """As the format file writes it: `char comm[16]`, `__data_loc char[] name`, `const char * filename`."""
        if self.dynamic:
            return f"__{self.dynamic} {self.type}{'[]' if self.count else ''} {self.name}"
        brackets = f"[{self.count}]" if self.count > 0 else "[]" if self.count else ""
        return f"{self.type} {self.name}{brackets}"


class TracepointFormat(Data):
    """A parsed format file. `fields` in file order, the common ones first; `size` is the least size of a record."""

    name: str
    id: int
    fields: tuple[TracepointField, ...]
    print_format: str = ""

    @property
    def args(self) -> tuple[TracepointField, ...]:
        """The fields of this tracepoint alone."""
        return tuple(f for f in self.fields if not f.common)

    @property
    def size(self) -> int:
        """Bytes of a record without its dynamic parts."""
        return max((f.offset + f.size for f in self.fields), default=0)

    def field(self, name: str) -> TracepointField | None:
        """The field of that name, None if there is none."""
        for each in self.fields:
            if each.name == name:
                return each
        return None


def parse_format(text: str) -> TracepointFormat:
    """Parse the text of an `events/<category>/<event>/format` file. Raises FormatError."""
    name = ""
    number = -1
    fields: list[TracepointField] = []
    print_format = ""
    common = True
    for at, line in enumerate(text.split("\n"), 1):
        if line.startswith("\tfield"):
            fields.append(_field(line, at, common))
        elif line.startswith("name: "):
            name = line[6:].strip()
        elif line.startswith("ID: ") and line[4:].strip().isdigit():
            number = int(line[4:])
        elif line.startswith("print fmt: "):
            print_format = line[11:]
        elif not line.strip() and fields:
            common = False
    if not name or number < 0:
        raise FormatError("read tracepoint format: it has no name or no ID")
    return TracepointFormat(name, number, tuple(fields), print_format)


def _field(line: str, at: int, common: bool) -> TracepointField:
    """`\\tfield:char comm[16];\\toffset:8;\\tsize:16;\\tsigned:0;`; `field special:` comes from ftrace's own events."""
    values = {}
    for item in line.strip().split(";"):
        key, _, value = item.strip().partition(":")
        values[key] = value
    declaration = (values.get("field") or values.get("field special") or "").strip()
    try:
        offset, size = int(values["offset"]), int(values["size"])
        signed = values.get("signed", "0") == "1"
    except (KeyError, ValueError):
        raise FormatError(f"read tracepoint format: line {at} is no field: {line.strip()!r}", offset=at) from None
    type_, name, count, dynamic = _declaration(declaration)
    if not name or not type_:
        raise FormatError(f"read tracepoint format: line {at} declares nothing: {declaration!r}", offset=at)
    if count < -1:
        # The length is a C expression that the kernel printed unexpanded (an enumerator): the sizes tell it.
        element = _SIZES.get(type_.removeprefix("const ").removeprefix("unsigned "), 8 if type_.endswith("*") else 0)
        count = size // element if element else 1
    return TracepointField(name, type_, offset, size, signed, count, dynamic, common and name.startswith("common_"))


_SIZES = {
    "char": 1, "u8": 1, "s8": 1, "__u8": 1, "__s8": 1, "bool": 1, "uint8_t": 1, "int8_t": 1,
    "short": 2, "u16": 2, "s16": 2, "__u16": 2, "__s16": 2, "uint16_t": 2, "__be16": 2, "__le16": 2,
    "int": 4, "u32": 4, "s32": 4, "__u32": 4, "__s32": 4, "uint32_t": 4, "int32_t": 4, "__be32": 4, "__le32": 4,
    "long": 8, "u64": 8, "s64": 8, "__u64": 8, "__s64": 8, "uint64_t": 8, "int64_t": 8, "long long": 8, "size_t": 8,
}  # fmt: skip


def _declaration(text: str) -> tuple[str, str, int, str]:
    """(type, name, count, dynamic) of a C declaration; count -2 for a length that is no number."""
    dynamic = ""
    for kind in ("data_loc", "rel_loc"):
        if text.startswith(f"__{kind} "):
            dynamic = kind
            text = text[len(kind) + 3 :].strip()
    count = 0
    left = text.rfind("[")
    right = text.rfind("]")
    if 0 <= left < right:
        length = text[left + 1 : right].strip()
        count = int(length, 0) if length.isdigit() or length[:2] == "0x" else -1 if not length else -2
        text = text[:left] + text[right + 1 :]  # `char[] name` and `char name[16]` alike
    text = text.strip()
    cut = max(text.rfind(" "), text.rfind("*"), text.rfind("\t"))
    return text[: cut + 1].strip(), text[cut + 1 :].strip(), count, dynamic
