"""Inside a guest: what its kernel says of the programs in FOLDER/programs, written to FOLDER/verdicts line by line.

A line of `programs` is the type and the code in hexadecimal; one of `verdicts` is [loads, the end of the log] as JSON.
`loads` is null where the kernel was still walking after some seconds: under emulation a loop may take it minutes.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from _oracle import kernel_says, maps, with_fds

GIVE_UP_S = 4  # a pending signal ends the load, which is tried five times


def main(folder: Path) -> None:
    ticks: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _frame: ticks.append(number))
    with maps() as fds, (folder / "verdicts").open("w") as out:
        for line in (folder / "programs").read_text().splitlines():
            type, code = line.split()
            ticks.clear()
            signal.setitimer(signal.ITIMER_REAL, GIVE_UP_S, GIVE_UP_S)
            loads, words = kernel_says(type, with_fds(bytes.fromhex(code), fds))
            signal.setitimer(signal.ITIMER_REAL, 0)
            out.write(json.dumps([None if ticks else loads, words]) + "\n")
            out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
