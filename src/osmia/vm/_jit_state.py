"""The block that native code shares with Python: 8-byte slots at fixed places, then the program's constants."""

from __future__ import annotations

# Why a run ends early (0: it does not); FAULT: the four slots behind it say more.
PENDING, KIND, INSN, ADDRESS, SIZE = range(5)
RAISED, FAULT = 1, 2
KINDS = ("read", "write", "fuel", "depth", "call", "atomic")
FUEL, DEPTH, TABLE, STACK = range(5, 9)
# What trivial helpers give; refreshed before each run.
CPU, PID_TGID, UID_GID, CLOCK = range(9, 13)
TAIL_STATE = 13
# The region that the last checked access was in.
LAST_BASE, LAST_END, LAST_WRITABLE = range(14, 17)
CONSTANTS = 20
