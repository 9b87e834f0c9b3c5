"""Tests of osmia.kernel on the running kernel; leaks are checked by the fixtures of all kernel tests."""

from __future__ import annotations

import os

import pytest

from osmia import syscalls


@pytest.fixture(scope="session", autouse=True)
def _tracefs_open() -> None:
    """Where tracefs is not mounted Osmia mounts one for itself: an fd that stays open is no leak of a test."""
    if os.geteuid() == 0:
        syscalls.tracefs()
