"""Would a kernel load this program? An abstract interpreter in the kernel's manner, with one profile per kernel version."""

from __future__ import annotations
