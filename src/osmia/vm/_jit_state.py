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
# Where checked code found the last bytes it read and wrote: the base of a region, and its size less 7 (0: nowhere).
READ_BASE, READ_LIMIT, WRITE_BASE, WRITE_LIMIT = range(14, 18)
# The C functions with which the code calls Python (`syscalls._native.python_api`).
ENSURE, RELEASE, NUMBER, VECTORCALL, UNSIGNED, DECREF, CLEAR = range(18, 25)
CONSTANTS = 26
