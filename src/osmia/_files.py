"""Files that are written as a whole, or are not there."""

from __future__ import annotations

import os
from stat import S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def write_whole(path: str | os.PathLike[str], pieces: Iterable[bytes]) -> None:
    """Write a file; one that cannot be finished is removed. OSError."""
    with open(path, "wb") as file:
        try:
            file.writelines(pieces)
            file.flush()
        except BaseException:
            if S_ISREG(os.fstat(file.fileno()).st_mode):  # no device, and no pipe
                os.unlink(path)
            raise
