"""Kernel addresses to names, through /proc/kallsyms."""

from __future__ import annotations

from bisect import bisect_right

from ._symbol import UNKNOWN, Symbol

KALLSYMS = "/proc/kallsyms"

# An address this far past the last symbol below it is in no function: the largest in a kernel are below 128 KiB.
_FAR = 1 << 18


class KernelSymbols:
    """The kernel's symbol table, read when first asked (about 40 ms, formatted by the kernel on every read).

    The part of vmlinux comes sorted by address, so it is searched as text; only modules and BPF programs, which come in
    any order after it, are parsed. `text` replaces the file. `restricted` says that addresses are hidden from us.
    """

    def __init__(self, text: bytes | None = None, path: str = KALLSYMS) -> None:
        self.path = path
        self._given = text
        self._core = b""
        self._rest_addresses: list[int] | None = None
        self._rest: list[tuple[int, str, str]] = []
        self._tail = b""
        self._loaded = False
        self._cache: dict[int, Symbol] = {}
        self._problem = ""

    def refresh(self) -> None:
        """Forget the table: modules or BPF programs were loaded since. It is read again when next asked."""
        self._loaded = False
        self._rest_addresses = None
        self._cache.clear()

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        text = self._given
        if text is None:
            try:
                with open(self.path, "rb", buffering=0) as file:
                    text = file.readall()
            except OSError as error:
                self._problem = f"read {self.path}: {(error.strerror or str(error)).lower()}"
                text = b""
        cut = text.find(b"\t[")
        cut = len(text) if cut < 0 else text.rfind(b"\n", 0, cut) + 1
        self._core, self._tail = text[:cut], text[cut:]
        # The kernel shows zeros to readers that may not know addresses (kernel.kptr_restrict, CAP_SYSLOG).
        last = self._core.rfind(b"\n", 0, max(len(self._core) - 1, 0)) + 1
        if self._core and not int(self._core[last : last + 16] or b"0", 16):
            self._core = b""
            self._problem = f"read {self.path}: addresses are hidden"

    @property
    def problem(self) -> str:
        """Why no kernel symbol can be resolved, "" when they can."""
        self._load()
        return self._problem

    @property
    def restricted(self) -> bool:
        """Whether the kernel hides its addresses from this process."""
        return self.problem.endswith("hidden")

    @property
    def hint(self) -> str:
        """What to do about `problem`."""
        return "run as root, or: sysctl kernel.kptr_restrict=0" if self.restricted else ""

    def resolve(self, address: int) -> Symbol:
        """The symbol that covers `address`; one without a name if none does."""
        found = self._cache.get(address)
        if found is None:
            self._load()
            found = self._find(address)
            if len(self._cache) > 65536:
                self._cache.clear()
            self._cache[address] = found
        return found

    def _find(self, address: int) -> Symbol:
        core = self._find_core(address)
        start, name, module = self._find_rest(address)
        # A module's function just above the kernel's text is nearer than the last symbol of vmlinux.
        if core is not None and core[0] >= start:
            start, name, module = core[0], core[1], "kernel"
        if not name or address - start >= _FAR:
            return UNKNOWN
        return Symbol(name, address - start, module)

    def _find_core(self, address: int) -> tuple[int, str] | None:
        """(start, name) of the last line at or below the address, the first of several at one address."""
        text = self._core
        low, high = 0, len(text)
        # Invariant: the line that starts at `low` is at or below the address, those from `high` on are above it.
        if not text or int(text[:16], 16) > address:
            return None
        while True:
            middle = text.rfind(b"\n", low, (low + high) // 2) + 1
            if middle <= low:
                middle = text.find(b"\n", (low + high) // 2, high) + 1
                if not middle or middle >= high:
                    break
            if int(text[middle : middle + 16], 16) <= address:
                low = middle
            else:
                high = middle
        wanted = text[low : low + 16]
        while low and text[low - 1 : low] == b"\n":
            before = text.rfind(b"\n", 0, low - 1) + 1
            if text[before : before + 16] != wanted:
                break
            low = before
        end = text.find(b"\n", low)
        return int(wanted, 16), text[low + 19 : end if end > 0 else len(text)].decode("ascii", "replace")

    def _find_rest(self, address: int) -> tuple[int, str, str]:
        if self._rest_addresses is None:
            self._rest = sorted(self._parse_rest())
            self._rest_addresses = [row[0] for row in self._rest]
        at = bisect_right(self._rest_addresses, address) - 1
        return self._rest[at] if at >= 0 else (0, "", "")

    def _parse_rest(self) -> list[tuple[int, str, str]]:
        rows = []
        for line in self._tail.decode("ascii", "replace").splitlines():
            head, tab, module = line.partition("\t")
            fields = head.split(" ", 2)
            if tab and len(fields) == 3 and fields[1] in "tTwWaA":
                rows.append((int(fields[0], 16), fields[2], module.strip("[]")))
        return [row for row in rows if row[0]]

    def has(self, name: str) -> bool:
        """Whether the kernel or a module has a symbol of this name; works with hidden addresses, too."""
        self._load()
        if self._given is None and self.restricted:
            try:
                with open(self.path, "rb") as file:
                    return b" %b\n" % name.encode() in file.read()
            except OSError:
                return False
        return self._line_of(name) is not None

    def _line_of(self, name: str) -> bytes | None:
        raw = name.encode("utf-8", "replace")
        for text, end in ((self._core, b"\n"), (self._tail, b"\t")):
            at = text.find(b" %b%b" % (raw, end))
            if at > 0:
                start = text.rfind(b"\n", 0, at) + 1
                if at - start == 18:
                    return text[start:at]
        return None

    def address_of(self, name: str) -> int:
        """Address of the symbol, 0 if there is none or addresses are hidden."""
        self._load()
        line = self._line_of(name)
        return int(line[:16], 16) if line else 0
