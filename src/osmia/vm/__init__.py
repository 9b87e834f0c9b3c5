"""The user-space target: interpreter, JIT, maps, helpers and event sources; no root, no kernel."""

from __future__ import annotations
