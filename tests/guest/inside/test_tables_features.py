"""The probes of the feature table, put to an older kernel, and map creation there."""

from __future__ import annotations

import os

from _tables import measure, wrong_encodings

from osmia.isa import assemble
from osmia.isa._tables import table
from osmia.syscalls._maps import map_create
from osmia.verifier._features import FEATURES
from osmia.verifier._map_rules import RULES
from osmia.verifier._profile import profile
from osmia.verifier._versions import MAP_TYPES

M = measure()
LIVE = profile(os.uname().release)


def test_probes() -> None:
    kernel, wrong = M.Kernel(), []
    for row in FEATURES.values():
        if not row.probe:
            continue
        kind, text = ("kprobe", row.probe[8:]) if row.probe.startswith("kprobe: ") else ("socket_filter", row.probe)
        errno, lines = kernel.load((kind, ""), assemble(text))
        if (errno == 0) != LIVE.has(row.name):
            wrong.append((row.name, LIVE.has(row.name), lines[-3:]))
    assert wrong == [], repr(wrong)


def test_map_types() -> None:
    wrong = []
    for name in ("user_ringbuf", "ringbuf", "bloom_filter", "arena", "queue"):
        rule = RULES[name]
        fd = map_create(
            type=table("MAP_TYPES")[name], key_size=0, value_size=8 if rule.values[1] else 0,
            max_entries=4096, flags=rule.needs,
        )  # fmt: skip
        if fd >= 0:
            os.close(fd)
        if (fd >= 0) != (LIVE.version >= MAP_TYPES[name][0]):
            wrong.append((name, fd))
    assert wrong == [], repr(wrong)


def test_encodings() -> None:
    assert wrong_encodings(M.Kernel(), LIVE) == []
