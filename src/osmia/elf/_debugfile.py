"""Separate debug files: where the symbols and the DWARF of a stripped program are."""

from __future__ import annotations

import os

from ..errors import OsmiaError
from ._file import ElfFile, open_elf

ROOT = "/usr/lib/debug"


def find_debug_file(
    elf: ElfFile, path: str = "", root: str = "", dirs: tuple[str, ...] = (), section: str = ".symtab"
) -> ElfFile | None:
    """The debug file of `elf` that has `section`, by build id or .gnu_debuglink; None if none is installed.

    `path` is where the program lives (default: elf.path), `root` the root directory of its process's mount namespace.
    `dirs` are searched first: absolute, or relative to the program's directory; a "+" in front is accepted (as in
    elfutils: check the CRC; it is checked whenever there is no build id). The caller closes the file.
    """
    for candidate in _candidates(elf, path or elf.path, dirs):
        for where in (root + candidate, candidate) if root else (candidate,):
            found = _open(elf, where, section) if os.path.isfile(where) else None
            if found is not None:
                return found
    return None


def _open(elf: ElfFile, path: str, section: str) -> ElfFile | None:
    """The file if it belongs to `elf` and is of use."""
    try:
        found = open_elf(path)
    except OsmiaError:
        return None  # a damaged debug file is as good as none
    try:
        fits = found.section(section) is not None and _belongs(elf, found)
    except OsmiaError:
        fits = False
    if fits:
        return found
    found.close()
    return None


def _belongs(elf: ElfFile, found: ElfFile) -> bool:
    if elf.build_id or found.build_id:
        return elf.build_id == found.build_id
    link = elf.debuglink
    if link is None:
        return False
    from zlib import crc32

    return crc32(found.read(0, os.path.getsize(found.path))) == link[1]


def _candidates(elf: ElfFile, path: str, dirs: tuple[str, ...]) -> list[str]:
    build_id = elf.build_id
    by_id = f".build-id/{build_id[:2]}/{build_id[2:]}.debug" if len(build_id) > 2 else ""
    here = os.path.dirname(os.path.abspath(path))
    link = elf.debuglink
    name = link[0] if link and link[0] and "/" not in link[0] else ""
    out = []
    for given in dirs:
        # As elfutils does it: without a link, the debug file is called after the program.
        directory = os.path.join(here, given.lstrip("+"))
        out += [f"{directory}/{by_id}"] if by_id else []
        out.append(f"{directory}/{name or os.path.basename(path) + '.debug'}")
    if by_id:
        out.append(f"{ROOT}/{by_id}")
    if name:
        out += [f"{here}/{name}", f"{here}/.debug/{name}", f"{ROOT}{here}/{name}"]
    return [candidate for candidate in out if candidate != path]
