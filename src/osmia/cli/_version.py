"""`osmia version`."""

from __future__ import annotations

import sys

from .._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run(argv: Sequence[str]) -> int:
    sys.stdout.write(f"osmia {__version__}\n")
    return 0
