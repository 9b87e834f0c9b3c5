"""The functions and USDT probes of one file."""

from __future__ import annotations

from struct import unpack_from

from ..elf import ElfFile, Symbol, UsdtProbe, find_debug_file, open_elf
from ..errors import ElfError, ProbeError
from ._match import Location
from ._names import closest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import Dwarf

PF_X = 1
PT_LOAD = 1
DW_TAG_SUBPROGRAM, DW_AT_INLINE, DW_INLINED = 0x2E, 0x20, (1, 3)


class UserFile:
    """An ELF file that user probes go to. `path` may be `archive.zip!/lib.so`, a library stored in an archive.

    Reading happens on first use; `function` looks one name up without reading the symbol tables. A context manager.
    """

    def __init__(self, path: str, debug_dirs: tuple[str, ...] = ()) -> None:
        self.path = path
        self.debug_dirs = debug_dirs
        self.base = 0  # file offset of the ELF image: not 0 inside an archive
        archive, bang, member = path.partition("!/")
        if bang:
            self.base, data = _stored_member(archive, member)
            self.elf = ElfFile(data, path)
        else:
            self.elf = open_elf(path)
        self.attach_path = archive
        self._functions: dict[str, list[Symbol]] | None = None
        self._debug: ElfFile | None = None
        self._debug_known = False
        self._dwarf: Dwarf | None = None
        self._dwarf_known = False

    def __enter__(self) -> UserFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the file; more than once does no harm."""
        if self._dwarf is not None:
            self._dwarf.close()
        self.elf.close()
        if self._debug is not None:
            self._debug.close()

    @property
    def debug(self) -> ElfFile | None:
        """The separate debug file with the symbols that were stripped from this one, if it is installed."""
        if not self._debug_known:
            self._debug_known = True
            if not self.elf.symtab:
                self._debug = find_debug_file(self.elf, dirs=self.debug_dirs)
        return self._debug

    @property
    def dwarf(self) -> Dwarf | None:
        """The debug information, from the file itself or its separate debug file; None if there is none."""
        if not self._dwarf_known:
            from ..elf import open_dwarf

            self._dwarf_known = True
            self._dwarf = open_dwarf(self.elf, dirs=self.debug_dirs)
        return self._dwarf

    def debug_paths(self) -> list[str]:
        """Paths of the separate debug files that were read."""
        return [] if self._dwarf is None else [p for p in self._dwarf.paths() if p != self.path]

    def functions(self) -> dict[str, list[Symbol]]:
        """Name -> symbols of the defined functions, sorted by name; static functions may share one."""
        if self._functions is None:
            found: dict[str, list[Symbol]] = {}
            seen = set()
            for elf in (self.elf, self.debug):
                for symbol in elf.functions() if elf else ():
                    if (symbol.name, symbol.value) not in seen and symbol.value:
                        seen.add((symbol.name, symbol.value))
                        found.setdefault(symbol.name, []).append(symbol)
            self._functions = dict(sorted(found.items()))
        return self._functions

    def is_inlined(self, name: str) -> bool:
        """Whether the debug information knows a function of that name that was inlined wherever it is called."""
        found = self.dwarf.find_type(name, (DW_TAG_SUBPROGRAM,)) if self.dwarf is not None else None
        return found is not None and found.number(DW_AT_INLINE) in DW_INLINED

    def function(self, name: str) -> Symbol | None:
        """The function of that name, None if the file defines none."""
        symbol = self.elf.find_symbol(name)
        if symbol is None and self.debug is not None:
            symbol = self.debug.find_symbol(name)
        return symbol if symbol is not None and symbol.value and self._is_code(symbol.value) else None

    def _is_code(self, address: int) -> bool:
        segments = self.elf.segments
        return not segments or any(
            s.type == PT_LOAD and s.flags & PF_X and s.vaddr <= address < s.vaddr + s.memsz for s in segments
        )

    def location(self, symbol: Symbol, offset: int = 0, *, unsafe: bool = False) -> Location:
        """Where a probe at `offset` bytes into the function goes. ProbeError outside it, unless `unsafe`."""
        if not unsafe and not symbol.size:
            raise ProbeError(
                f"Could not determine boundary for {symbol.name} (symbol has size 0).",
                probe=symbol.name,
                hint="Use --unsafe to force attachment. WARNING: This option could lead to data corruption in the "
                "target process.",
            )
        if not unsafe and offset and offset >= symbol.size:
            raise ProbeError(
                f"Offset outside the function bounds ('{symbol.name}' size is {symbol.size})",
                probe=symbol.name,
                hint=f"offsets in {symbol.name} are 0 to {symbol.size - 1}",
            )
        start = self.place(symbol.value)
        if offset and not unsafe:
            self.check_boundary(symbol, offset)
        return Location(start.offset + offset, start.address + offset)

    def check_boundary(self, symbol: Symbol, offset: int) -> None:
        """ProbeError when no instruction starts `offset` bytes into a function: a probe would corrupt the program."""
        from ..elf import EM_AARCH64, EM_X86_64, is_boundary

        code = self.elf.read(self.elf.addr_to_offset(symbol.value), min(offset + 16, symbol.size))
        machine = self.elf.machine
        starts = is_boundary(code, offset) if machine == EM_X86_64 else machine != EM_AARCH64 or offset % 4 == 0
        if not starts:
            raise ProbeError(
                "Possible attachment attempt in the middle of an instruction, try a different offset.",
                probe=f"{symbol.name}+{offset}",
                hint=f"objdump -d --disassemble={symbol.name} shows where instructions start; --unsafe probes anywhere",
            )

    def place(self, address: int) -> Location:
        """The location of an address as the file lays it out. ElfError if the file does not hold it."""
        return Location(self.base + self.elf.addr_to_offset(address), address)

    def function_at(self, address: int) -> Symbol | None:
        """The function that covers an address."""
        for symbols in self.functions().values():
            for symbol in symbols:
                if symbol.value <= address < symbol.value + max(symbol.size, 1):
                    return symbol
        return None

    def usdt(self) -> dict[tuple[str, str], list[UsdtProbe]]:
        """(provider, name) -> its places, in the file's order."""
        found: dict[tuple[str, str], list[UsdtProbe]] = {}
        for probe in self.elf.usdt_probes():
            found.setdefault((probe.provider, probe.name), []).append(probe)
        return found

    def usdt_locations(self, probes: list[UsdtProbe]) -> tuple[Location, ...]:
        """Locations of the places of one USDT probe."""
        return tuple(
            Location(self.base + p.offset, p.pc, self.base + p.semaphore_offset if p.semaphore_offset else 0, p.args)
            for p in probes
        )

    def similar(self, name: str) -> tuple[str, ...]:
        """Functions with a name like this one."""
        return closest(name, self.functions())


def _stored_member(archive: str, member: str) -> tuple[int, bytes]:
    """(file offset, content) of a member stored without compression, as Android maps libraries from an APK."""
    import zipfile

    try:
        with zipfile.ZipFile(archive) as file:
            info = file.getinfo(member)
            if info.compress_type != zipfile.ZIP_STORED:
                raise ProbeError(f"read {archive}!/{member}: it is compressed, so no process can map it as code")
            data = file.read(info)
        with open(archive, "rb") as raw:
            raw.seek(info.header_offset)
            header = raw.read(30)
    except KeyError:
        raise ProbeError(f"read {archive}: it has no member {member}") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise ProbeError(f"read {archive}: {error}") from None
    if len(header) < 30:
        raise ElfError(f"read {archive}: the header of {member} is cut off")
    name_length, extra_length = unpack_from("<HH", header, 26)
    return info.header_offset + 30 + name_length + extra_length, data
