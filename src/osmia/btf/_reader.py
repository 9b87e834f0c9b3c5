"""Read BTF lazily: an index of where each type starts, types decoded when asked for, names found in the raw bytes."""

from __future__ import annotations

from bisect import bisect_right
from struct import Struct, error, pack, unpack_from

from ..errors import BtfError
from ._types import (
    COMPOSITE,
    ENUMS,
    FIXED,
    HEADER_SIZE,
    KIND_ARRAY,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_NAMES,
    KIND_PTR,
    KIND_TYPE_TAG,
    KIND_VAR,
    KIND_VOID,
    MAGIC,
    MODIFIERS,
    PER_ENTRY,
    POINTER_SIZE,
    REFERENCES,
    BtfType,
    Enumerator,
    Member,
    Param,
    SectionVar,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap

# Longest chain of typedefs, qualifiers and arrays that is followed; C and the kernel stay below 32
# (MAX_RESOLVE_DEPTH in kernel/bpf/btf.c). A longer one is a cycle.
MAX_DEPTH = 64
_HEADER = Struct("<HBBIIIII")


def build_index(words: memoryview[int]) -> list[int]:
    """Word offset of every type in a type section, in id order. Raises BtfError for damage."""
    offsets: list[int] = []
    add = offsets.append
    steps: dict[int, int] = {}  # info word -> words of the type; ~500 distinct ones in vmlinux
    at = 0
    end = len(words)
    try:
        while at < end:
            add(at)
            info = words[at + 1]
            step = steps.get(info)
            if step is None:
                kind = info >> 24 & 31
                if not 0 < kind < len(FIXED):
                    raise BtfError(f"read BTF: unknown kind {kind} of type {len(offsets)}", offset=at * 4)
                step = steps[info] = FIXED[kind] + PER_ENTRY[kind] * (info & 0xFFFF)
            at += step
    except IndexError:
        at = end + 1
    if at != end:
        raise BtfError(f"read BTF: type {len(offsets)} is cut off by the end of the type section", offset=end * 4)
    return offsets


class Btf:
    """The types in `data` (raw little-endian BTF), split BTF when `base` is given.

    `offsets` is an index from an earlier `build_index` of the same bytes; it is not checked. Ids count from 1
    (0 is void), those of split BTF go on after the base's. Every method raises BtfError for damaged data or
    an id that is not there.
    """

    def __init__(
        self, data: bytes | mmap, base: Btf | None = None, offsets: Sequence[int] | None = None, key: str = ""
    ) -> None:
        types, strings = _sections(data, split=base is not None)
        self.data = data
        self.base = base
        self._types_at, types_len = types
        self._strings_at, self._strings_len = strings
        self._strings_end = self._strings_at + self._strings_len
        self._words = memoryview(data)[self._types_at : self._types_at + types_len].cast("I")
        self._offsets: Sequence[int] = build_index(self._words) if offsets is None else offsets
        self.start_id: int = base.end_id if base else 1
        self.end_id: int = self.start_id + len(self._offsets)  # one past the last id
        self._start_string: int = base.end_string if base else 0
        self._key = key
        self._types: dict[int, BtfType] = {}
        self._found: dict[tuple[str, int], int | None] = {}
        self._odd_ints: dict[int, tuple[int, int]] = {}

    def close(self) -> None:
        """Unmap the file now, where it is mapped; nothing can be read any more. More than once does no harm."""
        self._words.release()
        close = getattr(self.data, "close", None)
        if close is not None:
            try:
                close()
            except BufferError:
                return  # somebody still looks at a part of it: it goes with that

    @property
    def offsets(self) -> Sequence[int]:
        """The index: word offset of each type of this (not the base's) type section."""
        return self._offsets

    @property
    def words(self) -> memoryview[int]:
        """This part's type section as 32-bit words."""
        return self._words

    @property
    def end_string(self) -> int:
        """One past the last string offset, where the strings of split BTF on top of this go on."""
        return self._start_string + self._strings_len

    @property
    def key(self) -> str:
        """Names the content: equal keys, equal types. For kernel BTF it is made from the build id."""
        if not self._key:
            from hashlib import blake2b

            self._key = blake2b(self.data, digest_size=16).hexdigest()
        return f"{self.base.key}+{self._key}" if self.base else self._key

    def __len__(self) -> int:
        """Number of types, the base's included, void not."""
        return self.end_id - 1

    def __iter__(self) -> Iterator[BtfType]:
        """All types of this part (not the base's) in id order."""
        return map(self.type, range(self.start_id, self.end_id))

    def __repr__(self) -> str:
        return f"<Btf {len(self)} types{' (split)' if self.base else ''}>"

    # one type

    def _at(self, id: int) -> tuple[memoryview[int], int]:
        part: Btf = self
        while id < part.start_id and part.base is not None:
            part = part.base
        index = id - part.start_id
        if index < 0 or index >= len(part._offsets):
            raise BtfError(f"read BTF type {id}: there are only {len(self)} types")
        return part._words, part._offsets[index]

    def kind(self, id: int) -> int:
        """`KIND_*` of a type; KIND_VOID for id 0."""
        if id == 0:
            return KIND_VOID
        words, at = self._at(id)
        return words[at + 1] >> 24 & 31

    def name(self, id: int) -> str:
        """Name of a type, empty for an anonymous one and for void."""
        if id == 0:
            return ""
        words, at = self._at(id)
        return self.string(words[at])

    def string(self, offset: int) -> str:
        """The string at an offset of the string section (as .BTF.ext refers to it)."""
        if offset == 0:
            return ""
        part: Btf = self
        while offset < part._start_string and part.base is not None:
            part = part.base
        start = part._strings_at + offset - part._start_string
        if start >= part._strings_end:
            raise BtfError(f"read BTF: string offset {offset} is outside the string section", offset=start)
        return part.data[start : part.data.find(b"\0", start)].decode("utf-8", "backslashreplace")

    def type(self, id: int) -> BtfType:
        """The type with this id, decoded. Id 0 is a BtfType of KIND_VOID named `void`."""
        found = self._types.get(id)
        if found is None:
            if 0 < id < self.start_id and self.base is not None:
                return self.base.type(id)
            found = self._types[id] = BtfType(0, KIND_VOID, "void") if id == 0 else self._decode(id)
        return found

    def _decode(self, id: int) -> BtfType:
        words, at = self._at(id)
        info = words[at + 1]
        kind = info >> 24 & 31
        vlen = info & 0xFFFF
        t = BtfType(id, kind, self.string(words[at]), bool(info >> 31))
        if kind in REFERENCES:
            t.type_id = words[at + 2]
        else:
            t.size = words[at + 2]
        at += 3
        string = self.string
        if kind in COMPOSITE:
            t.members = self._members(words, at, vlen, t.flag)
        elif kind == KIND_FUNC_PROTO:
            t.params = tuple(Param(string(words[i]), words[i + 1]) for i in range(at, at + 2 * vlen, 2))
        elif kind == KIND_INT:
            word = words[at]
            t.encoding = word >> 24 & 15
            t.signed = bool(t.encoding & 1)
            t.bit_offset = word >> 16 & 255
            t.bits = word & 255
        elif kind == KIND_ARRAY:
            t.size = 0
            t.type_id, t.index_type_id, t.count = words[at], words[at + 1], words[at + 2]
        elif kind in ENUMS:
            t.signed = t.flag
            t.values = self._values(words, at, vlen, kind, t.signed)
        elif kind == KIND_DATASEC:
            t.vars = tuple(SectionVar(words[i], words[i + 1], words[i + 2]) for i in range(at, at + 3 * vlen, 3))
        elif kind == KIND_VAR:
            t.linkage = words[at]
        elif kind == KIND_FUNC:
            t.linkage = vlen
        elif kind == KIND_DECL_TAG:
            t.component = words[at] - (words[at] >> 31 << 32)
        elif kind == KIND_FWD:
            t.size = 0
        return t

    def _members(self, words: memoryview[int], at: int, vlen: int, flag: bool) -> tuple[Member, ...]:
        out = []
        for i in range(at, at + 3 * vlen, 3):
            type_id, offset = words[i + 1], words[i + 2]
            if flag:
                offset, bits = offset & 0xFFFFFF, offset >> 24
            else:
                # Before kind_flag (5.0), a bit field was an INT narrower than its storage.
                shift, bits = self._odd_ints.get(type_id) or self._odd_int(type_id)
                offset += shift
            out.append(Member(self.string(words[i]), type_id, offset, bits))
        return tuple(out)

    def _odd_int(self, id: int) -> tuple[int, int]:
        """(bit offset, bits) when `id` is an integer that fills only part of its bytes, else (0, 0)."""
        odd = (0, 0)
        end = self.resolve(id)
        if self.kind(end) == KIND_INT:
            words, at = self._at(end)
            bits, shift = words[at + 3] & 255, words[at + 3] >> 16 & 255
            if shift or bits != words[at + 2] * 8:
                odd = (shift, bits)
        self._odd_ints[id] = odd
        return odd

    def _values(self, words: memoryview[int], at: int, vlen: int, kind: int, signed: bool) -> tuple[Enumerator, ...]:
        out = []
        step = PER_ENTRY[kind]
        for i in range(at, at + step * vlen, step):
            value = words[i + 1] if kind == KIND_ENUM else words[i + 1] | words[i + 2] << 32
            if signed:
                top = 31 if kind == KIND_ENUM else 63
                value -= value >> top << (top + 1)
            out.append(Enumerator(self.string(words[i]), value))
        return tuple(out)

    # derived facts

    def resolve(self, id: int) -> int:
        """Strip typedefs, const, volatile, restrict and type tags. 0 stays 0."""
        for _ in range(MAX_DEPTH):
            if id == 0:
                return 0
            words, at = self._at(id)
            if words[at + 1] >> 24 & 31 not in MODIFIERS:
                return id
            id = words[at + 2]
        raise BtfError(f"resolve BTF type {id}: its typedefs or qualifiers form a cycle")

    def size_of(self, id: int) -> int:
        """Bytes a value of this type takes. BtfError for void, functions and forward declarations."""
        count = 1
        wanted = id
        for _ in range(MAX_DEPTH):
            id = self.resolve(id)
            if id == 0:
                break
            words, at = self._at(id)
            kind = words[at + 1] >> 24 & 31
            if kind == KIND_PTR:
                return count * POINTER_SIZE
            if kind == KIND_ARRAY:
                count *= words[at + 5]
                id = words[at + 3]
            elif kind == KIND_VAR:
                id = words[at + 2]
            elif kind in REFERENCES or kind == KIND_FWD:
                break
            else:
                return count * words[at + 2]
        what = KIND_NAMES[self.kind(id)].lower()
        raise BtfError(f"size of BTF type {wanted}: {what} {self.name(id)!r} has no size")

    def members(self, id: int) -> tuple[Member, ...]:
        """Members of a struct or union, typedefs and qualifiers looked through; anonymous ones not opened."""
        t = self.type(self.resolve(id))
        if t.kind not in COMPOSITE:
            raise BtfError(f"members of BTF type {id}: it is {t.kind_name.lower()} {t.name!r}, no struct or union")
        return t.members

    def field(self, id: int, name: str) -> tuple[int, int, int] | None:
        """(bit offset, bit-field width or 0, type id) of a member, also inside anonymous members; None if absent."""
        seen = set()
        todo = [(self.resolve(id), 0)]
        while todo:
            parent, start = todo.pop()
            if parent in seen:
                continue
            seen.add(parent)
            inner = []
            for m in self.members(parent):
                if m.name == name:
                    return start + m.bit_offset, m.bit_size, m.type_id
                if not m.name:
                    target = self.resolve(m.type_id)
                    if self.kind(target) in COMPOSITE:
                        inner.append((target, start + m.bit_offset))
            todo.extend(reversed(inner))
        return None

    def type_tags(self, id: int) -> tuple[str, ...]:
        """Tags of a pointer's target ("user", "percpu", "rcu", ...), outermost first; () for other types.

        Compilers emit them as `PTR -> TYPE_TAG -> T`; kernels built by GCC before 16 have none.
        """
        id = self.resolve(id)
        tags: list[str] = []
        if self.kind(id) != KIND_PTR:
            return ()
        for _ in range(MAX_DEPTH):
            words, at = self._at(id)
            id = words[at + 2]
            kind = self.kind(id)
            if kind == KIND_TYPE_TAG:
                tags.append(self.name(id))
            elif kind not in MODIFIERS:
                break
        return tuple(tags)

    def func_proto(self, name: str) -> BtfType | None:
        """Prototype (FUNC_PROTO) of the function `name`, None if there is no such function."""
        id = self.find(name, KIND_FUNC)
        if id is None:
            return None
        proto = self.type(self.type(id).type_id)
        if proto.kind != KIND_FUNC_PROTO:
            raise BtfError(f"read BTF function {name!r}: type {proto.id} is no prototype")
        return proto

    def func_params(self, name: str) -> tuple[Param, ...] | None:
        """Parameters of the function `name`, None if there is no such function."""
        proto = self.func_proto(name)
        return None if proto is None else proto.params

    # look-up by name

    def find(self, name: str, kind: int | None = None) -> int | None:
        """Id of the type called `name` (of this KIND_*, if given), None if there is none.

        Own types come before the base's, low ids before high ones. Without `kind`, a definition comes before a
        forward declaration.
        """
        memo = (name, -1 if kind is None else kind)
        if memo not in self._found:
            own = [self._first(string, memo[1]) for string in self._string_offsets(name)]
            found = min((id for id in own if id), default=None)
            if self.base is not None and (found is None or (kind is None and self.kind(found) == KIND_FWD)):
                found = self.base.find(name, kind) or found
            self._found[memo] = found
        return self._found[memo]

    def _first(self, string: int, kind: int) -> int | None:
        forward = None
        for id in self._named(string, kind):
            if kind >= 0 or self.kind(id) != KIND_FWD:
                return id
            forward = forward or id
        return forward

    def find_all(self, name: str, kind: int | None = None) -> tuple[int, ...]:
        """Ids of all types called `name`, own before the base's, ascending within each."""
        own = [id for string in self._string_offsets(name) for id in self._named(string, -1 if kind is None else kind)]
        return (*sorted(own), *(self.base.find_all(name, kind) if self.base is not None else ()))

    def _string_offsets(self, name: str) -> list[int]:
        """Offsets under which a type of this part can refer to `name`; writers share no suffixes."""
        out = self.base._string_offsets(name) if self.base is not None else []
        if not name:
            return out
        pattern = b"\0%b\0" % name.encode("utf-8", "replace")
        # The first string of split BTF has no NUL before it.
        if self.data[self._strings_at : self._strings_at + len(pattern) - 1] == pattern[1:]:
            out.append(self._start_string)
        at = self.data.find(pattern, self._strings_at, self._strings_end)
        while at >= 0:
            out.append(at + 1 - self._strings_at + self._start_string)
            at = self.data.find(pattern, at + 1, self._strings_end)
        return out

    def _hits(self, word: int) -> Iterator[int]:
        """Word offsets in the type section where `word` stands."""
        data, words, start = self.data, self._words, self._types_at
        end = start + 4 * len(words)
        # Most bytes of BTF are zero: without its zeros at the end the pattern is found 1.5 to 4 times as fast.
        pattern = pack("<I", word).rstrip(b"\0")
        at = data.find(pattern, start, end)
        while at >= 0:
            index = (at - start) >> 2
            if not (at - start) & 3 and words[index] == word:
                yield index
            at = data.find(pattern, at + 1, end)

    def _named(self, string: int, kind: int) -> Iterator[int]:
        """Ids of this part whose name is the string at this offset, ascending."""
        offsets, words = self._offsets, self._words
        last = len(words) - 1
        for at in self._hits(string):
            # A member's name or a type id may be the same number: the hit must be the start of a type.
            if at < last and (kind < 0 or words[at + 1] >> 24 & 31 == kind):
                index = bisect_right(offsets, at) - 1
                if index >= 0 and offsets[index] == at:
                    yield index + self.start_id

    def enum_value(self, name: str) -> tuple[int, int] | None:
        """(value, id of its enum) of the enumerator `name`, None if there is none."""
        for string in self._string_offsets(name):
            for at in self._hits(string):
                index = bisect_right(self._offsets, at) - 1
                start = self._offsets[index] if index >= 0 else 0
                info = self._words[start + 1]
                kind = info >> 24 & 31
                if kind in ENUMS and at > start + 2 and not (at - start - 3) % PER_ENTRY[kind]:
                    value = self._values(self._words, at, 1, kind, bool(info >> 31))[0].value
                    return value, index + self.start_id
        return self.base.enum_value(name) if self.base is not None else None

    def ids(self, kind: int) -> Iterator[int]:
        """Ids of all own types (not the base's) of one kind, without decoding them."""
        words = self._words
        for id, at in enumerate(self._offsets, self.start_id):
            if words[at + 1] >> 24 & 31 == kind:
                yield id

    def funcs(self) -> Iterator[str]:
        """Names of all own functions (not the base's), in id order; a name may come twice."""
        words, string = self._words, self.string
        for at in self._offsets:
            if words[at + 1] >> 24 & 31 == KIND_FUNC:
                yield string(words[at])


def _sections(data: bytes | mmap, *, split: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """((types offset, length), (strings offset, length)) in bytes; BtfError unless both lie inside `data`."""
    try:
        magic, version, _flags, header, type_at, type_len, str_at, str_len = _HEADER.unpack_from(data)
    except error:
        raise BtfError(f"read BTF: {len(data)} bytes are too few for a header", offset=len(data)) from None
    if magic != MAGIC:
        if unpack_from(">H", data)[0] == MAGIC:
            raise BtfError("read BTF: it is big endian", offset=0, hint="only little-endian BTF can be read")
        raise BtfError(f"read BTF: bad magic {magic:#06x}", offset=0)
    if version != 1:
        raise BtfError(f"read BTF: unknown version {version}", offset=2)
    if header < HEADER_SIZE:
        raise BtfError(f"read BTF: header length {header} is less than {HEADER_SIZE}", offset=4)
    for what, at, length in (("type", type_at, type_len), ("string", str_at, str_len)):
        if header + at + length > len(data):
            raise BtfError(f"read BTF: the {what} section goes beyond the end of the data", offset=len(data))
    if type_len & 3 or type_at & 3:
        raise BtfError("read BTF: the type section is not aligned to 4 bytes", offset=8)
    strings = header + str_at
    if str_len == 0 and split:
        return (header + type_at, type_len), (strings, 0)
    if str_len == 0 or data[strings + str_len - 1] or (data[strings] and not split):
        raise BtfError("read BTF: the string section does not start and end with NUL", offset=strings)
    return (header + type_at, type_len), (strings, str_len)
