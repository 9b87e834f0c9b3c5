"""Cgroup ids to paths."""

from __future__ import annotations

import os


def cgroup_paths(cgroup_id: int, pattern: str) -> list[tuple[str, str]]:
    """(hierarchy, path) wherever a mounted hierarchy whose name matches `pattern` has the cgroup.

    The unified hierarchy is called "unified" and comes first; others go by the name of their mount point.
    A cgroup's id is the inode number of its directory.
    """
    from fnmatch import fnmatchcase

    found = []
    for name, root in _roots():
        if fnmatchcase(name, pattern or "*"):
            path = _find(root, cgroup_id)
            if path:
                found.append((name, path))
    return found


def _roots() -> list[tuple[str, str]]:
    unified, others = [], []
    with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as f:
        for line in f:
            fields = line.split(" ")
            if fields[2] == "cgroup2":
                unified.append(("unified", fields[1]))
            elif fields[2] == "cgroup":
                others.append((os.path.basename(fields[1]), fields[1]))
    return unified + sorted(others)


def _find(root: str, inode: int) -> str:
    try:
        if os.stat(root).st_ino == inode:
            return "/"
        for folder, names, _files in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                if os.lstat(path).st_ino == inode:
                    return path[len(root) :]
    except OSError:
        return ""  # the hierarchy changed under us, or is not ours to read
    return ""
