"""Files that are written as a whole, or are not there."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from osmia._files import write_whole


def test_pieces_are_joined(tmp_path: Path) -> None:
    write_whole(tmp_path / "out", [b"a", b"bc"])
    assert (tmp_path / "out").read_bytes() == b"abc"


def test_what_cannot_be_made_is_not_left(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise ValueError

    with pytest.raises(ValueError):
        write_whole(tmp_path / "out", pieces())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_what_there_is_no_room_for_is_not_left(tmp_path: Path, size: int) -> None:
    """Also where the disk is found to be full when the last bytes go out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(tmp_path / "out", [bytes(size)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_no_file_stays(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "full", [b"a"])
    assert (tmp_path / "full").is_symlink()
