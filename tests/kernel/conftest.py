"""Tests that need root and a live kernel: each is checked for leaks."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_leaks(require_root: None, leak_check: None) -> None:
    """Whatever a test loads or attaches must be gone when it ends."""
