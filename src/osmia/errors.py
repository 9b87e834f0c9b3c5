"""Every error that Osmia raises on purpose.

    OsmiaError
    ├── SourceError            a script or program text is wrong; carries `diagnostics`
    ├── FormatError            bytes are not what they claim to be (`what`, `offset`)
    │   ├── ElfError
    │   ├── BtfError
    │   ├── IsaError           instruction that cannot be encoded, decoded or assembled
    │   └── ObjectError        BPF object that cannot be read, linked or relocated
    ├── CodegenError           IR that the BPF back end cannot take (`function`, `line`)
    ├── KernelError            a system call failed (`errno`, `operation`)
    │   ├── PermissionDenied   a privilege is missing (`capability`)
    │   ├── VerifierError      the kernel refused a program (`program`, `log`, `line`)
    │   ├── MapError
    │   └── AttachError        (`probe`)
    ├── NotSupported           this kernel or target lacks a feature (`feature`, `since`)
    ├── ProbeError             unknown or malformed probe (`probe`, `suggestions`)
    ├── SymbolError            a file, process or symbol cannot be found or read
    ├── CacheError             the compile cache is unsafe or damaged
    ├── VmError                the user-space machine cannot run a program (`program`)
    │   └── VmFault            a running program did what it must not (`kind`, `insn`, `address`, `size`)
    └── UsageError             a command line or an argument is wrong

Messages read "verb object: cause (what to do next)", in lower case, without a full stop.
"""

from __future__ import annotations

from ._data import Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class OsmiaError(Exception):
    """Base of all errors. `hint` says what to do next, or is empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Diagnostic(Data):
    """One finding in a source text. Lines and columns count from 1; `end_col` is exclusive.

    `trail` are the places that a macro with the finding was called from, innermost first. One that `follows` from
    another adds nothing to it.
    """

    severity: str  # "error" | "warning"
    message: str
    file: str = ""
    line: int = 0
    col: int = 0
    end_line: int = 0
    end_col: int = 0
    source_line: str = ""
    hint: str = ""
    trail: tuple[Diagnostic, ...] = ()
    follows: bool = False

    def render(self) -> str:
        """`file:line:col-col: ERROR: message`, the source line, a marker below it, `HINT: ...`."""
        if not self.line:
            head = f"{self.severity.upper()}: {self.message}"
            return f"{head}\nHINT: {self.hint}" if self.hint else head
        multi = self.end_line > self.line
        where = f"{self.line}-{self.end_line}" if multi else f"{self.line}:{self.col}-{max(self.end_col, self.col + 1)}"
        out = [f"{self.file}:{where}: {self.severity.upper()}: {self.message}"]
        text = self.source_line.replace("\t", " ")
        out.append(text)
        stop = len(text) + 1 if multi else self.end_col
        out.append(" " * (self.col - 1) + "~" * max(1, min(stop, len(text) + 1) - self.col))
        out += [place.render() for place in self.trail]
        if self.hint:
            out.append(f"HINT: {self.hint}")
        return "\n".join(out)


class SourceError(OsmiaError):
    """A source text has errors; all of them are in `diagnostics`, in source order.

    The message leaves out those that follow from others; `rendered` has them too. `denied` is the missing privilege
    that kept a probe from being found, if that is one of the errors.
    """

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        own = [d for d in diagnostics if not d.follows]
        super().__init__("\n".join(d.render() for d in own or diagnostics))
        self.diagnostics = diagnostics
        self.denied: PermissionDenied | None = None

    def rendered(self) -> str:
        """All diagnostics as text."""
        return "\n".join(d.render() for d in self.diagnostics)


class FormatError(OsmiaError):
    """Bytes that are not in the format they claim. `offset` is in bytes, -1 when not known."""

    def __init__(self, message: str, *, offset: int = -1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class ElfError(FormatError):
    """Not an ELF file, or a damaged one."""


class BtfError(FormatError):
    """Not BTF, or damaged BTF, or a type that is not there."""


class IsaError(FormatError):
    """An instruction cannot be encoded, decoded, assembled or disassembled."""


class ObjectError(FormatError):
    """A BPF object cannot be read, linked, relocated or written."""


class CodegenError(OsmiaError):
    """The IR holds something that BPF cannot do. `line` is the line of the user's source, 0 when not known."""

    def __init__(
        self, message: str, *, function: str = "", line: int = 0, col: int = 0, end_col: int = 0, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.function = function
        self.line = line
        self.col = col
        self.end_col = end_col


class KernelError(OsmiaError):
    """A system call failed. `operation` names it, e.g. `bpf(BPF_MAP_CREATE)`."""

    def __init__(self, message: str, *, errno: int = 0, operation: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = errno
        self.operation = operation


class PermissionDenied(KernelError):
    """The kernel refused it; `capability` names the privilege that is missing, e.g. `CAP_BPF`, "" if none is known."""

    def __init__(self, message: str, *, capability: str, errno: int = 1, operation: str = "", hint: str = "") -> None:
        super().__init__(message, errno=errno, operation=operation, hint=hint)
        self.capability = capability


class VerifierError(KernelError):
    """The kernel's verifier refused a program. `file`, `line`, `source_line` come from the log's line info."""

    def __init__(
        self,
        message: str,
        *,
        program: str,
        log: str,
        errno: int = 0,
        file: str = "",
        line: int = 0,
        source_line: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, errno=errno, operation="bpf(BPF_PROG_LOAD)", hint=hint)
        self.program = program
        self.log = log
        self.file = file
        self.line = line
        self.source_line = source_line


class MapError(KernelError):
    """Creating, reading or writing a map failed."""


class AttachError(KernelError):
    """A program was loaded but could not be attached to `probe`."""

    def __init__(self, message: str, *, probe: str, errno: int = 0, operation: str = "", hint: str = "") -> None:
        super().__init__(message, errno=errno, operation=operation, hint=hint)
        self.probe = probe


class NotSupported(OsmiaError):
    """This kernel, target or build lacks `feature`; `since` is the least Linux version that has it, or empty.

    `probe` names the probe that could not be attached for this reason.
    """

    def __init__(self, message: str, *, feature: str, since: str = "", probe: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.feature = feature
        self.since = since
        self.probe = probe


class ProbeError(OsmiaError):
    """A probe specification is malformed or matches nothing."""

    def __init__(self, message: str, *, probe: str = "", suggestions: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.probe = probe
        self.suggestions = suggestions


class SymbolError(OsmiaError):
    """A file, process or symbol cannot be found or read."""


class CacheError(OsmiaError):
    """The compile cache is unsafe (others can write to it) or damaged."""


class VmError(OsmiaError):
    """The user-space machine cannot run `program`, or has run out of something that the program needs."""

    def __init__(self, message: str, *, program: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.program = program


class VmFault(VmError):
    """A running program did what it must not; the run has ended, the machine is usable.

    `kind`: read, write (outside of every region, or a read-only one), fuel, depth, jump, instruction, call, atomic.
    `insn` is the slot of the instruction, -1 when a helper did it; `address` and `size` in bytes where memory is meant.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        insn: int = -1,
        address: int = 0,
        size: int = 0,
        program: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, program=program, hint=hint)
        self.kind = kind
        self.insn = insn
        self.address = address
        self.size = size


class UsageError(OsmiaError):
    """A command line or an argument of a function is wrong. `as_bpftrace` is how bpftrace says it, or empty."""

    def __init__(self, message: str, *, hint: str = "", as_bpftrace: str = "") -> None:
        super().__init__(message, hint=hint)
        self.as_bpftrace = as_bpftrace


def cannot_write(what: str, error: OSError) -> OsmiaError:
    """Of a file that cannot be written: `UsageError` where another name would do, `OsmiaError` where a disk is full."""
    text = f"write {what}: {(error.strerror or str(error)).lower()}"
    if error.errno in (5, 27, 28, 122):  # EIO, EFBIG, ENOSPC, EDQUOT
        return OsmiaError(text, hint="make room, or give a place on another disk")
    return UsageError(text)


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A hint for a name that is not known, "" where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(str(name), list(known), 1)
    return f"did you mean {near[0]!r}?" if near else ""
