"""What a process has mapped as code: /proc/PID/maps."""

from __future__ import annotations

from .._data import Data
from ..errors import SymbolError


class Mapping(Data):
    """A mapped range [start, end) that can be executed. `offset` is the file offset of `start`; `file` is "" for none.

    `deleted` says that the path no longer leads to this file. `device` is "major:minor" in hex.
    """

    start: int
    end: int
    offset: int
    file: str
    device: str = ""
    inode: int = 0
    deleted: bool = False


def parse_maps(text: str) -> list[Mapping]:
    """The executable ranges of the text of a maps file, in address order."""
    out = []
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 5 or "x" not in fields[1]:
            continue
        start, _, end = fields[0].partition("-")
        file = fields[5] if len(fields) == 6 else ""
        deleted = file.endswith(" (deleted)")
        # The kernel writes newlines in names as \012 (seq_path).
        file = file.removesuffix(" (deleted)").replace("\\012", "\n")
        out.append(Mapping(int(start, 16), int(end, 16), int(fields[2], 16), file, fields[3], int(fields[4]), deleted))
    return out


def read_maps(pid: int) -> list[Mapping]:
    """The executable ranges of a process. SymbolError if it ended or is not ours to read; empty for kernel threads."""
    path = f"/proc/{pid}/maps"
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return parse_maps(file.read())
    except (FileNotFoundError, ProcessLookupError):
        raise SymbolError(f"read {path}: there is no process {pid}") from None
    except PermissionError:
        raise SymbolError(f"read {path}: permission denied", hint="run as root, or as the process's user") from None
    except OSError as error:
        raise SymbolError(f"read {path}: {(error.strerror or str(error)).lower()}") from None
