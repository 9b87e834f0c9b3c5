"""Probes: how they are spelled, which exist on this machine, what arguments they have.

Nothing here attaches anything: `Match.attach_points` says what `osmia.kernel` is to attach.
"""

from __future__ import annotations

from ._catalogue import Catalogue
from ._format import TracepointField, TracepointFormat, parse_format
from ._match import Location, Match, attach_multi
from ._spec import ProbeSpec, expand_probe, parse_probe

__all__ = [
    "Catalogue",
    "Location",
    "Match",
    "ProbeSpec",
    "TracepointField",
    "TracepointFormat",
    "attach_multi",
    "expand_probe",
    "parse_format",
    "parse_probe",
]
