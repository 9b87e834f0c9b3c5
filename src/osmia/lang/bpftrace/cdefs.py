"""C definitions of a script: structs, unions, enums and typedefs with the layout of LP64 (x86-64, arm64).

A parser of our own for the part of C that headers of types are made of; functions and variables are skipped.
Headers of the kernel are not read: with BTF their types are known anyway.
"""

from __future__ import annotations

from ..._data import Data, MutableData
from ...errors import SourceError
from . import ast
from .checked import Source
from .cpreprocess import ConstantError, Preprocessor, evaluate
from .expressions import C_WORDS, MAX_ERRORS, MAX_HEIGHT, MAX_SUFFIXES, ExpressionParser, SyntaxProblem, is_higher
from .types import BOOL, INT8, VOID, StructDef, StructField, Type, floating, pointer, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .lexer import Token


class EnumDef(Data):
    """An enum: `values` maps enumerators to their values."""

    name: str
    size: int
    signed: bool
    values: dict[str, int]


class Definitions(MutableData):
    """`structs` by "struct x" and "union x"; `enums` by tag; `enumerators` name -> (value, type of the enum);
    `macros` name -> text of the object-like ones. Anonymous members are fields without a name."""

    structs: dict[str, StructDef] = {}
    typedefs: dict[str, Type] = {}
    enums: dict[str, EnumDef] = {}
    enumerators: dict[str, tuple[int, Type]] = {}
    macros: dict[str, str] = {}


def read(
    definitions: Sequence[ast.CDefinition],
    sources: Sequence[Source],
    *,
    have_btf: bool = True,
    include_dirs: Sequence[str] = (),
    file_dirs: Sequence[str] = (),
    resolve: Callable[[str], Type | None] | None = None,
) -> Definitions:
    """The tables of a script's definitions.

    `sources[d.span.source]` is the text a definition stands in, `file_dirs` likewise the folder its quoted includes
    start from. `resolve` finds types the script does not define ("struct sock", "pid_t"), from BTF.
    Raises SourceError with all that is wrong.
    """
    out = Definitions()
    reader = _Reader(out, resolve)
    cpp = Preprocessor(reader.take, reader.enumerator, have_btf=have_btf, include_dirs=include_dirs)
    source: Source | None = None
    for definition in definitions:
        index = definition.span.source
        source = sources[index] if index < len(sources) else sources[0]
        file_dir = file_dirs[index] if index < len(file_dirs) else ""
        cpp.feed(source, definition.text, definition.span.start, file_dir)
    if source is not None:
        cpp.finish(source)
    errors = cpp.errors + reader.errors
    if errors:
        raise SourceError(errors)
    out.typedefs = {name: reader.completed(_plain(t)) for name, t in out.typedefs.items()}
    for key, found in out.structs.items():
        fields = tuple(f.replace(type=reader.completed(f.type)) for f in found.fields)
        out.structs[key] = found.replace(fields=fields)
    out.macros = {name: m.text for name, m in cpp.macros.items() if m.params is None}
    return out


# Sizes and signs by the words of a base type, sorted: `unsigned long int` and `long unsigned` are one type.
_BASE = {
    "char": (1, True), "char signed": (1, True), "char unsigned": (1, False), "short": (2, True),
    "short unsigned": (2, False), "": (4, True), "unsigned": (4, False), "long": (8, True),
    "long unsigned": (8, False), "long long": (8, True), "long long unsigned": (8, False),
}  # fmt: skip
_KNOWN = {
    **{f"{w}int{n * 8}{t}": (n, not w) for w in ("", "u") for n in (1, 2, 4, 8) for t in ("_t", "")},
    **{f"{p}{'s' if s else 'u'}{n * 8}": (n, s) for p in ("", "__") for s in (True, False) for n in (1, 2, 4, 8)},
    **{f"__{e}{n * 8}": (n, False) for e in ("be", "le") for n in (2, 4, 8)},
    "size_t": (8, False), "ssize_t": (8, True), "uintptr_t": (8, False), "intptr_t": (8, True), "ptrdiff_t": (8, True),
    "pid_t": (4, True), "uid_t": (4, False), "gid_t": (4, False), "off_t": (8, True), "loff_t": (8, True),
    "dev_t": (4, False), "mode_t": (2, False), "time_t": (8, True), "socklen_t": (4, False),
    "sa_family_t": (2, False), "in_addr_t": (4, False), "in_port_t": (2, False), "uint": (4, False),
    "ulong": (8, False), "ushort": (2, False), "wchar_t": (4, True),
}  # fmt: skip
# Floating-point numbers can be stepped over and copied, not computed with: their bytes. The name keeps the alignment.
_FLOATS = {name: floating(size, name) for name, size in (("float", 4), ("double", 8), ("long double", 16))}
_IGNORED = frozenset((
    "const", "volatile", "static", "inline", "extern", "register", "restrict", "__restrict", "__user", "__kernel",
    "__iomem", "__percpu", "__rcu", "__always_inline", "__inline", "__extension__", "_Noreturn", "__signed__",
))  # fmt: skip
_MAX_BITS = 1 << 40  # of a struct: its size stays far from what 64 bits hold


class _Layout(MutableData):
    """The members of a struct under construction, positions in bits."""

    is_union: bool
    packed: bool = False
    bit: int = 0
    size: int = 0  # in bits, of a union
    align: int = 1
    fields: list[StructField] = []


class _Reader(ExpressionParser):
    """Declarations to tables."""

    def __init__(self, out: Definitions, resolve: Callable[[str], Type | None] | None) -> None:
        super().__init__(Source("", ""), 0)
        self.out = out
        self.resolve = resolve
        self.aligns: dict[str, int] = {}
        self.anonymous = 0

    def take(self, source: Source, tokens: list[Token]) -> None:
        """Read the declarations of one text."""
        self.source = source
        self.enter(tokens)
        while self.kind != "eof" and len(self.errors) < MAX_ERRORS:
            if self.kind == ";":
                self.advance()
                continue
            at = self.at
            self.depth = 0
            try:
                self.declaration()
            except SyntaxProblem:
                self.skip_declaration(at)

    def skip_declaration(self, at: int) -> None:
        self.seek(at)
        depth = 0
        while self.kind != "eof":
            depth += 1 if self.kind == "{" else -1 if self.kind == "}" else 0
            ends = depth <= 0 and self.kind in (";", "}")
            closed = self.kind == "}"
            self.advance()
            # A struct ends with `;`, a function with its brace.
            if ends and not (closed and self.kind == ";"):
                return

    def wrong(self, start: int, message: str, hint: str = "") -> None:
        self.report(start, max(self.last_end, start + 1), message, hint)

    def enumerator(self, name: str) -> int | None:
        found = self.out.enumerators.get(name)
        return None if found is None else found[0]

    def value(self) -> int:
        """A constant expression at the cursor."""
        start = self.tok[2]
        tree = self.expression()
        if is_higher(tree, MAX_HEIGHT):
            self.wrong(start, "expression too large", "split it over several #define lines")
            return 1
        try:
            return evaluate(tree, self.enumerator, self.size_of_name)
        except ConstantError as e:
            self.wrong(start, f"not a constant: {e}", "use integers, enumerators and operators")
            return 1

    def size_of_name(self, name: ast.TypeName) -> int:
        if "*" in name.suffixes:
            return 8
        found = self.known_type(name.base)
        if found is None:
            raise ConstantError(f"unknown type '{name.base}'")
        size = found.size
        for suffix in name.suffixes:
            size *= suffix if isinstance(suffix, int) else 1
        return size

    # ------------------------------------------------------------ declarations

    def declaration(self) -> None:
        start = self.tok[2]
        is_typedef = self.kind == "id" and self.tok[1] == "typedef"
        if is_typedef:
            self.advance()
            if self.peek_struct_tag() is None and self.kind == "id" and self.tok[1] in ("struct", "union", "enum"):
                base = self.tagged(self.typedef_name())
            else:
                base = self.specifiers(must=True)
        else:
            base = self.specifiers(must=False)
        self.skip_attributes()
        while self.kind not in (";", "eof"):
            name, found = self.declarator(base)
            if is_typedef and name:
                self.out.typedefs[name] = found
            if self.kind == "{":  # the body of a function
                raise SyntaxProblem
            if self.kind == "=":
                raise SyntaxProblem  # an initialiser: variables are not kept
            if self.kind != ",":
                break
            self.advance()
        if self.kind == ";":
            self.advance()
        elif self.kind != "eof" and is_typedef:
            raise self.fail("expected ';'", "end the definition with `;`")
        elif self.at and self.tok[2] == start:
            raise SyntaxProblem

    def peek_struct_tag(self) -> str | None:
        """The tag behind `struct`, if there is one."""
        at = self.at
        self.advance()
        self.skip_attributes()
        tag = self.tok[1] if self.kind == "id" else None
        self.seek(at)
        return tag

    def typedef_name(self) -> str:
        """The name that `typedef struct { ... } name;` gives; the cursor stays."""
        depth = 0
        for ahead in range(self.at, len(self.tokens)):
            kind, text, _, _ = self.tokens[ahead]
            depth += 1 if kind == "{" else -1 if kind == "}" else 0
            if (
                depth == 0
                and kind == "id"
                and self.tokens[ahead + 1][0] in (";", ",")
                and self.tokens[ahead - 1][0] in ("}", ")")
            ):
                return text
            if depth == 0 and kind == ";":
                break
        return ""

    def specifiers(self, *, must: bool, inside: str = "") -> Type:
        """What stands in front of the declarators: `unsigned int`, `struct x { ... }`, a typedef's name."""
        words: list[str] = []
        found: Type | None = None
        start = self.tok[2]
        while self.kind == "id":
            word = self.tok[1]
            if word in ("struct", "union", "enum") and found is None and not words:
                found = self.tagged(inside)
            elif word in C_WORDS and word not in ("const", "volatile") and found is None:
                words.append(word)
                self.advance()
            elif word in _IGNORED or word in ("const", "volatile", "_Atomic"):
                self.advance()
            elif word.startswith("__attribute"):
                self.skip_attributes()
            elif word in ("float", "double") and found is None:
                found = _FLOATS["long double" if words else word]
                words.clear()
                self.advance()
            elif found is None and not words:
                self.advance()
                found = self.known_type(word)
                if found is None:
                    self.unknown(start, word, must)
            else:
                break
        if words:
            found = _base_type(words)
            if found is None:
                self.wrong(start, f"unknown type '{' '.join(words)}'")
                raise SyntaxProblem
        if found is None:
            if must:
                raise self.fail("expected type name", "write a C type, such as int or struct NAME")
            raise SyntaxProblem
        return found

    def unknown(self, start: int, word: str, must: bool) -> None:
        if must or self.kind == "*" or self.kind == "id":
            self.wrong(start, f"unknown type name '{word}'", "define it with typedef or struct before this")
        else:
            self.wrong(start, f"unexpected '{word}' between C definitions", "end the definition before this with `;`")
        raise SyntaxProblem

    def known_type(self, words: str) -> Type | None:
        if words in ("void", "bool", "_Bool"):
            return VOID if words == "void" else BOOL
        tag, _, name = words.partition(" ")
        if name and tag in ("struct", "union"):
            return self.tag_type(tag, name)
        if name and tag == "enum":
            return self.enum_type(name)
        if all(w in C_WORDS for w in words.split()):
            return _base_type(words.split())
        found = self.out.typedefs.get(words)
        if found is None and words in _KNOWN:
            size, signed = _KNOWN[words]
            return Type("int", size, signed)
        return found if found is not None or self.resolve is None else self.resolve(words)

    def tag_type(self, kind: str, name: str) -> Type:
        found = self.out.structs.get(f"{kind} {name}")
        if found is not None:
            return Type(kind, found.size, name=name, store="c")
        outside = self.resolve(f"{kind} {name}") if self.resolve is not None else None
        return outside or Type(kind, 0, name=name, store="c")

    def completed(self, t: Type) -> Type:
        """The type with the sizes of structs that were defined only after their use (behind pointers)."""
        if t.kind in ("struct", "union") and t.store == "c" and not t.size:
            return self.tag_type(t.kind, t.name)
        if t.element is None:
            return t
        element = self.completed(t.element)
        return t if element is t.element else t.replace(element=element)

    def enum_type(self, name: str) -> Type:
        found = self.out.enums.get(name)
        if found is not None:
            return Type("enum", found.size, found.signed, name, store="c")
        outside = self.resolve(f"enum {name}") if self.resolve is not None else None
        return outside or Type("enum", 4, False, name, store="c")

    def tagged(self, inside: str) -> Type:
        """`struct x`, `struct x { ... }`, `struct { ... }`; `inside` names what an anonymous one belongs to."""
        self.descend()
        kind = self.tok[1]
        start = self.tok[2]
        self.advance()
        packed, align = self.skip_attributes()
        name = ""
        if self.kind == "id":
            name = self.tok[1]
            self.advance()
            more, other = self.skip_attributes()
            packed, align = packed or more, max(align, other)
        if self.kind == "{":
            if not name:
                self.anonymous += 1
                name = f"{inside}(anonymous {self.anonymous})" if not inside or inside.endswith("::") else inside
            if kind == "enum":
                self.enum_body(name)
            else:
                self.struct_body(kind, name, start, packed, align)
        elif not name:
            raise self.fail("expected identifier", f"write {kind} NAME {{ ... }}")
        self.depth -= 1
        return self.enum_type(name) if kind == "enum" else self.tag_type(kind, name)

    def skip_attributes(self) -> tuple[bool, int]:
        """Step over `__attribute__((...))`; (packed, alignment in bytes or 0)."""
        packed, align = False, 0
        while self.kind == "id" and self.tok[1] in (
            "__attribute__",
            "__attribute",
            "__packed",
            "__aligned",
            "_Alignas",
        ):
            word = self.tok[1]
            self.advance()
            if word == "__packed":
                packed = True
                continue
            depth = 0
            while self.kind != "eof":
                if self.kind == "(":
                    depth += 1
                elif self.kind == ")":
                    depth -= 1
                elif self.kind == "id" and self.tok[1].strip("_") == "packed":
                    packed = True
                elif (
                    self.kind == "id"
                    and self.tok[1].strip("_") == "aligned"
                    and self.peek() == "("
                    and self.peek(2) == "int"
                ):
                    self.advance()
                    depth += 1
                    self.advance()
                    align = max(align, self.integer_value()[0])
                self.advance()
                if depth <= 0:
                    break
            if align & (align - 1) or align > 4096:
                self.wrong(self.last_end, "alignment must be a power of two up to 4096")
                align = 0
        return packed, align

    def enum_body(self, name: str) -> None:
        self.expect("{")
        values: dict[str, int] = {}
        following = 0
        while self.kind != "}":
            first = self.tok[2]
            item = self.expect_name("expected identifier", "an enum is written enum NAME { A, B = 5 }")
            if self.kind == "=":
                self.advance()
                following = self.value()
            if not -(1 << 63) <= following < 1 << 64:
                self.wrong(first, f"value of '{item}' does not fit into 64 bits")
                following = 0
            values[item] = following
            # Later enumerators may refer to this one.
            self.out.enumerators[item] = (following, Type("enum", 4, False, name, store="c"))
            following += 1
            if self.kind != "}":
                self.expect(",", "separate the enumerators with `,`")
        self.advance()
        self.skip_attributes()
        low, high = min(values.values(), default=0), max(values.values(), default=0)
        signed = low < 0
        size = 4 if low >= -(1 << 31) and high < 1 << (31 if signed else 32) else 8
        self.out.enums[name] = EnumDef(name, size, signed, values)
        what = Type("enum", size, signed, name, store="c")
        self.out.enumerators.update({item: (value, what) for item, value in values.items()})

    # ------------------------------------------------------------ structs

    def struct_body(self, kind: str, name: str, start: int, packed: bool, align: int) -> None:
        key = f"{kind} {name}"
        if key in self.out.structs:
            self.report(start, self.tok[2], f"redefinition of '{key}'", "give one of them another name")
        # Attributes behind the body apply to all of it: look ahead.
        at = self.at
        self.skip_group()
        more, other = self.skip_attributes()
        self.seek(at)
        layout = _Layout(kind == "union", packed or more)
        self.advance()
        while self.kind != "}":
            if self.kind == ";":
                self.advance()
                continue
            if self.kind == "eof":
                raise self.fail("expected '}'", f"{key} is not closed")
            self.members(layout, name)
        self.advance()
        self.skip_attributes()
        layout.align = max(layout.align, align, other)
        bits = max(layout.bit, layout.size)
        size = -(-bits // 8)
        size = -(-size // layout.align) * layout.align
        self.out.structs[key] = StructDef(name, size, tuple(layout.fields), kind == "union")
        self.aligns[key] = layout.align

    def skip_group(self) -> None:
        depth = 0
        while self.kind != "eof":
            depth += 1 if self.kind == "{" else -1 if self.kind == "}" else 0
            self.advance()
            if depth == 0:
                return

    def members(self, layout: _Layout, struct: str) -> None:
        """One line of members: `int a, *b, c[4], d:3;`. The `;` of the last one may be missing."""
        base = self.specifiers(must=True, inside=f"{struct}::{self.member_name()}")
        if self.kind == ";" and base.kind in ("struct", "union") and base.name.endswith(")"):
            self.place(layout, "", base, None, False, 0)
            self.advance()
            return
        while self.kind != ";":
            start = self.tok[2]
            if self.kind == ":":
                name, found = "", base
            else:
                name, found = self.declarator(base)
            bits: int | None = None
            if self.kind == ":":
                self.advance()
                bits = self.value()
                if found.kind not in ("int", "bool", "enum") or not 0 <= bits <= found.size * 8:
                    self.wrong(
                        start, f"bit field of {bits} bits in {found}", "a bit field is as wide as its type at most"
                    )
                    bits = None
            packed, align = self.skip_attributes()
            if bits is None and not found.size and self.incomplete(found):
                self.wrong(
                    start, f"field '{name}' has the incomplete type '{found}'", "define it before, or use a pointer"
                )
            self.place(layout, name, found, bits, packed, align)
            if self.kind == "}":
                return
            if self.kind != ";":
                self.expect(",", "end the member with `;`")
        self.advance()

    def incomplete(self, t: Type) -> bool:
        return t.kind == "void" or (t.kind in ("struct", "union") and f"{t.kind} {t.name}" not in self.out.structs)

    def member_name(self) -> str:
        """The name of the member whose type is an anonymous struct, for the struct's own name."""
        if self.kind != "id" or self.tok[1] not in ("struct", "union") or self.peek() != "{":
            return ""
        at = self.at
        self.skip_group()
        name = self.tok[1] if self.kind == "id" else ""
        self.seek(at)
        return name

    def align_of(self, t: Type) -> int:
        if t.name in _FLOATS:
            return t.size
        if t.kind == "array" and t.element is not None:
            return self.align_of(t.element)
        if t.kind in ("struct", "union"):
            known = self.aligns.get(f"{t.kind} {t.name}")
            if known is not None:
                return known
            # From BTF, which has no alignment: what the size allows.
            return next((n for n in (8, 4, 2) if t.size and t.size % n == 0), 1)
        if t.kind == "string":
            return 1
        return t.size or 1

    def place(self, layout: _Layout, name: str, t: Type, bits: int | None, packed: bool, align: int) -> None:
        """Add a member where the ABI of x86-64 and arm64 puts it."""
        t = _plain(t)
        natural = 1 if packed or layout.packed else self.align_of(t)
        natural = max(natural, align)
        start = 0 if layout.is_union else layout.bit
        if bits is None:
            start = -(-start // (natural * 8)) * natural * 8
            layout.align = max(layout.align, natural)
            layout.fields.append(StructField(name, start // 8, t))
            end = start + t.size * 8
        else:
            unit = t.size * 8
            if bits == 0:
                end = -(-start // unit) * unit
            else:
                # A bit field does not cross a border of its type, unless packed.
                if not (packed or layout.packed) and start // unit != (start + bits - 1) // unit:
                    start = -(-start // unit) * unit
                end = start + bits
                if name:
                    layout.align = max(layout.align, natural)
                    layout.fields.append(_bit_field(name, t, start, bits))
        if end > _MAX_BITS:
            self.wrong(self.last_end - 1, "struct too large")
            end = start
        if layout.is_union:
            layout.size = max(layout.size, end)
        else:
            layout.bit = end

    # ------------------------------------------------------------ declarators

    def declarator(self, base: Type) -> tuple[str, Type]:
        """`*name[4]`, `(*name)(int)`: (name, type)."""
        self.descend()
        found = base
        stars = 0
        while self.kind == "*" and stars <= MAX_SUFFIXES:
            self.advance()
            stars += 1
            found = pointer(found)
            while self.kind == "id" and (self.tok[1] in _IGNORED or self.tok[1] in ("const", "volatile")):
                self.advance()
        self.skip_attributes()
        name = ""
        inner: int | None = None
        if self.kind == "(" and self.peek() in ("*", "("):
            # The declarator inside applies to the type with what follows the parenthesis: come back for it.
            inner = self.at + 1
            self.skip_parentheses()
        elif self.kind == "id":
            name = self.tok[1]
            self.advance()
        found = self.declarator_suffixes(found)
        if _levels(found) > MAX_SUFFIXES:
            raise self.fail(f"type of more than {MAX_SUFFIXES} levels", "nobody points that deep")
        if inner is not None:
            behind = self.at
            self.seek(inner)
            name, found = self.declarator(found)
            self.seek(behind)
        self.depth -= 1
        return name, found

    def declarator_suffixes(self, found: Type) -> Type:
        counts: list[int] = []
        while self.kind in ("[", "("):
            if self.kind == "(":
                self.skip_parentheses()
                found = VOID  # a function: only pointers to it are of use
                continue
            self.advance()
            start = self.tok[2]
            if len(counts) > MAX_SUFFIXES:
                raise self.fail(f"type of more than {MAX_SUFFIXES} levels", "nobody points that deep")
            counts.append(0 if self.kind == "]" else self.value())
            if not 0 <= counts[-1] < 1 << 32:
                self.wrong(start, f"array of {counts[-1]} elements")
                counts[-1] = 0
            self.expect("]")
        for count in reversed(counts):
            found = _array(found, count)
        return found

    def skip_parentheses(self) -> None:
        depth = 0
        while self.kind not in ("eof", ";", "{", "}"):
            depth += 1 if self.kind == "(" else -1 if self.kind == ")" else 0
            self.advance()
            if depth == 0:
                return
        raise self.fail("expected ')'")


_CHAR = Type("int", 1, True, "char")  # only in here: tells char from int8_t until the array is made


def _base_type(words: list[str]) -> Type | None:
    key = " ".join(
        sorted(
            w for w in words if w not in ("int", "const", "volatile") and not (w == "signed" and "char" not in words)
        )
    )
    found = _BASE.get(key)
    if found is None:
        return None
    return _CHAR if key == "char" else Type("int", *found)


def _array(element: Type, count: int) -> Type:
    """Arrays of char are strings, as they are in BTF."""
    if element == _CHAR and count:
        return string(count)
    return Type("array", element.size * count, element=element, count=count)


def _levels(t: Type) -> int:
    levels = 0
    while t.element is not None:
        t = t.element
        levels += 1
    return levels


def _plain(t: Type) -> Type:
    if t == _CHAR:
        return INT8
    if t.element is None:
        return t
    element = _plain(t.element)
    return t if element is t.element else t.replace(element=element)


def _bit_field(name: str, t: Type, start: int, bits: int) -> StructField:
    unit = t.size * 8
    offset, bit = start // unit * t.size, start % unit
    if bit + bits > unit:
        # Packed, and across a border of its type: count from the byte it begins in, and read as much as it needs.
        offset, bit = start // 8, start % 8
        size = next((n for n in (1, 2, 4, 8) if bit + bits <= n * 8), 8)
        t = Type("int", size, t.signed)
    return StructField(name, offset, t, bit, bits)
