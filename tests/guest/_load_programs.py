"""Inside a guest: what its kernel says of the programs in FOLDER/programs, written to FOLDER/verdicts line by line.

A line of `programs` is the type and the code in hexadecimal; one of `verdicts` is [loads, the end of the log] as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from _oracle import kernel_says, maps, with_fds


def main(folder: Path) -> None:
    with maps() as fds, (folder / "verdicts").open("w") as out:
        for line in (folder / "programs").read_text().splitlines():
            type, code = line.split()
            loads, words = kernel_says(type, with_fds(bytes.fromhex(code), fds))
            out.write(json.dumps([loads, words]) + "\n")
            out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
