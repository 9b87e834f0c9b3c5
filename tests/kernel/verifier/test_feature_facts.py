"""Rows of the feature table that take a map or a kernel function to be decided."""

from __future__ import annotations

import os

from _feature_facts import decided

from osmia.verifier._profile import profile


def test_rows() -> None:
    live = profile(os.uname().release)
    says = decided()
    assert says == {row: live.has(row) for row in says}
