"""A compile cache that cannot be used: said once, and the script runs all the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from _environment import NOBODY, Place

SCRIPT = "begin { @a = 1; exit(); }"
TRACING = ["CAP_BPF", "CAP_PERFMON"]


def warning(place: Place, **how: object) -> str:
    """What a run that works says of its cache; doctor must say the same."""
    done = place.trace(SCRIPT, **how)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    told = json.loads(place.run("doctor", "-o", "json", **how).stdout)
    check = next(c for c in told["checks"] if c["name"] == "compile cache")
    assert (check["state"] == "ok") == (not done.stderr)
    if done.stderr:
        (line,) = done.stderr.splitlines()
        assert line.startswith("WARNING: ") and "; going on without (" in line
        assert check["fix"]
        return line
    return ""


@pytest.fixture
def folder(place: Place, request: pytest.FixtureRequest) -> Path:
    path = place.folder / request.node.name
    path.mkdir()
    return path


def test_a_good_one(place: Place, folder: Path) -> None:
    assert warning(place, env={"OSMIA_CACHE_DIR": str(folder)}) == ""
    assert list(folder.glob("*.obj"))


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_others_can_write(place: Place, folder: Path, mode: int) -> None:
    folder.chmod(mode)
    text = warning(place, env={"OSMIA_CACHE_DIR": str(folder)})
    assert f"open cache {folder}: others can write to it (mode {mode:o}); going on without (set OSMIA_CACHE_DIR" in text
    assert not list(folder.iterdir())


def test_somebody_elses(place: Place, folder: Path) -> None:
    text = warning(place, env={"OSMIA_CACHE_DIR": str(folder)}, uid=NOBODY, keep=TRACING)
    assert f"belongs to user 0, not {NOBODY}" in text


def test_a_link_to_somewhere(place: Place, folder: Path) -> None:
    link = folder / "link"
    link.symlink_to("/tmp")
    assert "a symbolic link" in warning(place, env={"OSMIA_CACHE_DIR": str(link)})


def test_it_may_not_be_written(place: Place, folder: Path) -> None:
    folder.chmod(0o500)
    os.chown(folder, NOBODY, NOBODY)
    text = warning(place, env={"OSMIA_CACHE_DIR": str(folder)}, uid=NOBODY, keep=TRACING)
    assert f"write cache {folder}: it cannot be written" in text


def test_a_full_or_read_only_place(place: Place) -> None:
    assert "open cache /proc/none: " in warning(place, env={"OSMIA_CACHE_DIR": "/proc/none"})


def test_homes(place: Place) -> None:
    nobody = {"uid": 4242, "keep": TRACING}
    assert warning(place, env={"HOME": None}) == ""  # root's, by its number
    assert "no home directory; going on without (set OSMIA_CACHE_DIR" in warning(place, env={"HOME": None}, **nobody)
    assert "not a directory" in warning(place, env={"XDG_CACHE_HOME": "/etc/passwd"})
    # A relative one is ignored, as the XDG specification asks.
    assert warning(place, env={"XDG_CACHE_HOME": "relative"}) == ""


def test_quiet_when_asked(place: Place) -> None:
    done = place.trace(SCRIPT, "--no-warnings", env={"OSMIA_CACHE_DIR": "/dev/null"})
    assert (done.returncode, done.stderr) == (0, "")
    done = place.trace(SCRIPT, "--no-cache", env={"OSMIA_CACHE_DIR": "/dev/null"})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_damaged_entry_is_made_anew(place: Place, folder: Path) -> None:
    how = {"env": {"OSMIA_CACHE_DIR": str(folder)}}
    assert warning(place, **how) == ""
    (entry,) = folder.glob("*.obj")
    good = entry.read_bytes()
    for bad in (b"", good[:100], b"\0" * len(good), good[:-1] + bytes([good[-1] ^ 1])):
        entry.write_bytes(bad)
        assert warning(place, **how) == ""
        # Under its name, or another where a source file of this checkout has changed meanwhile.
        assert any(path.stat().st_size == len(good) for path in folder.glob("*.obj"))
        (entry, *_) = folder.glob("*.obj")
    entry.chmod(0o666)
    done = place.trace(SCRIPT, **how)
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
