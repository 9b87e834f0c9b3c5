"""The probes of the feature table, put to the running kernel."""

from __future__ import annotations

import os

import pytest
from _tables import measure, wrong_encodings

from osmia.isa import assemble
from osmia.verifier._features import FEATURES, Feature
from osmia.verifier._profile import profile

M = measure()
LIVE = profile(os.uname().release)


@pytest.mark.parametrize("row", [row for row in FEATURES.values() if row.probe], ids=lambda row: row.name)
def test_probe(row: Feature) -> None:
    kind, _, text = row.probe.rpartition(": ") if row.probe.startswith("kprobe") else ("socket_filter", "", row.probe)
    errno, lines = M.Kernel().load((kind, ""), assemble(text))
    assert (errno == 0) == LIVE.has(row.name), lines[-3:]


def test_encodings() -> None:
    assert wrong_encodings(M.Kernel(), LIVE) == []
