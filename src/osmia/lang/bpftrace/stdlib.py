"""Functions of the language that are macros in the language itself, by the file that messages name."""

from __future__ import annotations

BASE = """\
// Functions that every script can call.

// Ends the trace with status 1, and with a message, unless `cond` holds.
macro assert(cond, msg) {
  if (!cond) {
    errorf("assert failed: %s", msg);
    exit(1);
  }
}
"""

TEST = """\
// Functions for tests.

macro __always_true() {
  (int32)1
}
"""

# The file's name -> its text. A script that defines a macro of the same name has its own.
FILES = {"stdlib/base.bt": BASE, "stdlib/test.bt": TEST}
