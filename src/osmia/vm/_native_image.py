"""Native code between compiler and processor: an object becomes an image, an image becomes executable memory.

An image is what the cache keeps. All that depends on where it is put is in its fixups.
"""

from __future__ import annotations

from struct import error, pack_into

from .._data import Data
from ..errors import NotSupported, VmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from ..elf import ElfFile, ElfRelocation, Symbol

# The address space itself: at 0, so that an access through it is one instruction without a register for the base.
MEMORY_SYMBOL = "osmia_memory"
FAR_ADDRESS = "addresses far from the code"
_EXTERNAL = frozenset(("memcpy", "memmove", "memset", "bcmp", "memcmp"))
# A stub is what a branch can reach: it jumps to an address that stands behind it.
_STUBS = {62: bytes.fromhex("ff25020000009090"), 183: bytes.fromhex("5000005800021fd6")}
_STUB_SIZE = 16
_ALIGN = 64
_FROM_HERE = 0
_ARM = 183  # EM_AARCH64


class Image(Data):
    """Code that has yet to get its position. Offsets are in bytes from its start.

    fixups     (where, size, what): the address of offset `what` is to be stored in `size` bytes at `where`;
               size 0: in 4 bytes, `what` less the image's address (a fixed address, seen from the instruction)
    externals  (where, name): the address of a C function is to be stored in 8 bytes at `where`
    symbols    (name, offset) of the functions
    """

    code: bytes
    fixups: tuple[tuple[int, int, int], ...]
    externals: tuple[tuple[int, str], ...]
    symbols: tuple[tuple[str, int], ...]

    def parts(self) -> tuple[Any, ...]:
        """As the cache stores it; `Image(*parts)` is the way back."""
        return self.code, self.fixups, self.externals, self.symbols


def read_object(data: bytes) -> Image:
    """Lay out the sections of an object and resolve what is relative. NotSupported for what code of ours never has."""
    from ..elf import ElfFile

    with ElfFile(data) as elf:
        return _Layout(elf).image()


class _Layout:
    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.at: dict[int, int] = {}  # section -> offset
        self.code = bytearray()
        self.fixups: list[tuple[int, int, int]] = []
        self.stubs: dict[str, int] = {}
        self.symbols = elf.symtab
        self.kept = [s for s in elf.sections if s.flags & 2 and s.name != ".eh_frame"]  # SHF_ALLOC

    def image(self) -> Image:
        for section in self.kept:
            if section.flags & 1 and section.size:
                raise NotSupported(f"load native code: section {section.name} is writable", feature="writable data")
            self.code += bytes(-len(self.code) % max(_ALIGN, section.addralign))
            self.at[section.index] = len(self.code)
            self.code += section.data or bytes(section.size)
        for section in self.kept:
            for row in self.elf.relocations(section):
                try:
                    self._relocate(self.at[section.index] + row.offset, row)
                except (error, IndexError) as cause:
                    raise VmError(f"load native code: relocation {row}: {cause}") from None
        functions = [(s.name, self.at[s.section] + s.value) for s in self.symbols if s.type == 2]
        externals = [(at + _STUB_SIZE - 8, name) for name, at in self.stubs.items()]
        return Image(bytes(self.code), tuple(self.fixups), tuple(externals), tuple(functions))

    def _target(self, symbol: Symbol, branch: bool) -> int | None:
        """Offset in the image, None for the symbol that stands for address 0."""
        if symbol.section in self.at:
            return self.at[symbol.section] + symbol.value
        if symbol.name == MEMORY_SYMBOL:
            return None
        if branch and symbol.name in _EXTERNAL:
            return self._stub(symbol.name)
        raise NotSupported(f"load native code: it refers to {symbol.name!r}", feature=f"native symbol {symbol.name}")

    def _stub(self, name: str) -> int:
        if name not in self.stubs:
            self.code += bytes(-len(self.code) % _STUB_SIZE)
            self.stubs[name] = len(self.code)
            self.code += _STUBS[self.elf.machine].ljust(_STUB_SIZE, b"\0")
        return self.stubs[name]

    def _relocate(self, where: int, row: ElfRelocation) -> None:
        if self.elf.machine == _ARM:
            from ._native_arm64 import relocate

            target = self._target(self.symbols[row.symbol], row.type in (282, 283))
            relocate(self.code, where, row.type, target, row.addend, self.fixups)
            return
        branch = row.type == 4
        target = self._target(self.symbols[row.symbol], branch)
        if row.type in (2, 4) and target is not None:  # R_X86_64_PC32, PLT32
            pack_into("<i", self.code, where, target + row.addend - where)
        elif row.type == 24 and target is not None:  # PC64
            pack_into("<q", self.code, where, target + row.addend - where)
        elif row.type == 2:
            # A fixed address, told from the instruction's: in reach wherever the code comes to lie below 2 GiB?
            if row.addend < where:
                raise NotSupported("load native code: an address is out of reach", feature=FAR_ADDRESS)
            self.fixups.append((where, _FROM_HERE, row.addend - where))
        elif row.type in (1, 10, 11):  # 64, 32, 32S
            size = 8 if row.type == 1 else 4
            if target is None:
                pack_into("<q" if size == 8 else "<i", self.code, where, row.addend)
            else:
                self.fixups.append((where, size, target + row.addend))
        else:
            raise NotSupported(f"load native code: relocation type {row.type}", feature=f"relocation {row.type}")


class NativeCode:
    """An image in executable memory; a context manager. `address(name)` finds its functions."""

    def __init__(self, image: Image) -> None:
        from ..syscalls.native import Executable, symbol_address

        self._memory = Executable(len(image.code))
        self._symbols = dict(image.symbols)
        base = self._memory.address
        code = bytearray(image.code)
        try:
            for where, size, target in image.fixups:
                if size == _FROM_HERE:
                    pack_into("<i", code, where, target - base)
                else:
                    pack_into("<Q" if size == 8 else "<I", code, where, base + target)
            for where, name in image.externals:
                pack_into("<Q", code, where, symbol_address(name))
            self._memory.fill(code)
        except (error, VmError) as cause:
            self._memory.close()
            raise VmError(f"load native code: {cause}") from None

    def address(self, name: str) -> int:
        """Where function `name` is."""
        return self._memory.address + self._symbols[name]

    def __contains__(self, name: str) -> bool:
        return name in self._symbols

    @property
    def size(self) -> int:
        return self._memory.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the code; nothing may call it any more."""
        self._memory.close()


__all__ = ["MEMORY_SYMBOL", "Image", "NativeCode", "read_object"]
