"""Separate debug files: the symbols that were stripped from a program."""

from __future__ import annotations

import os

from ..elf import ElfFile, open_elf
from ..errors import OsmiaError

ROOT = "/usr/lib/debug"


def debug_file(elf: ElfFile, path: str, root: str = "") -> ElfFile | None:
    """The installed debug file of `elf`, which lives at `path`, by build id or .gnu_debuglink; None if there is none.

    `root` is the root directory of the process's mount namespace, e.g. /proc/1/root.
    """
    for candidate in _candidates(elf, path):
        for where in (root + candidate, candidate) if root else (candidate,):
            if not os.path.isfile(where):
                continue
            try:
                found = open_elf(where)
            except OsmiaError:
                continue  # a damaged debug file is as good as none
            if found.build_id == elf.build_id and found.symtab:
                return found
            found.close()
    return None


def _candidates(elf: ElfFile, path: str) -> list[str]:
    out = []
    build_id = elf.build_id
    if len(build_id) > 2:
        out.append(f"{ROOT}/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    link = elf.debuglink
    if link and link[0] and "/" not in link[0]:
        directory = os.path.dirname(os.path.abspath(path))
        out += [f"{directory}/{link[0]}", f"{directory}/.debug/{link[0]}", f"{ROOT}{directory}/{link[0]}"]
    return [candidate for candidate in out if candidate != path]
