"""Tests that run under a booted kernel, as root of it: the fixtures of all tests, and the leak check for each."""

from __future__ import annotations

import os

import pytest

from osmia import syscalls


@pytest.fixture(scope="session", autouse=True)
def _opened_once() -> None:
    """What Osmia opens once a process and keeps (tracefs) is no leak of the first test."""
    syscalls.tracefs()


@pytest.fixture(autouse=True)
def _no_leaks(leak_check: None) -> None:
    """Whatever a test loads or attaches must be gone when it ends."""


@pytest.fixture(scope="session")
def series() -> str:
    """The kernel series that was booted: "6.1" or "6.12"."""
    return os.environ["OSMIA_GUEST"]
