"""Tracebacks of failed tests: what Osmia says is wrong with a test is shown at the test's line, not within Osmia."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def cut(error: BaseException, root: str) -> None:
    """Drop the last frames of the error's traceback: those of Osmia, where a caller's frame comes before them.

    Not where a function of the test (a file below `root`) was called back by them.
    """
    last: TracebackType | None = None
    frame = error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and (last is None or file.startswith(root) or not _seen(error, frame)):
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None


def _seen(error: BaseException, until: TracebackType) -> bool:
    """Whether a frame of Osmia comes before this one."""
    frame = error.__traceback__
    while frame is not None and frame is not until:
        if frame.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            return True
        frame = frame.tb_next
    return False
