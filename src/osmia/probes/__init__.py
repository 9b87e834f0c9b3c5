"""Probes: how they are spelled, which exist on this machine, what arguments they have.

Nothing here attaches anything: `Match.attach_points` says what `osmia.kernel` is to attach.
"""

from __future__ import annotations

from .._lazy import lazy
from ._catalogue import Catalogue
from ._format import TracepointField, TracepointFormat, parse_format
from ._match import Location, Match, attach_multi
from ._spec import ProbeSpec, expand_probe, parse_probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._args import Arg, describe_args
    from ._glob import matcher
    from ._list import list_probes, list_rows, row_args, row_name, similar_probes
    from ._names import closest
    from ._static import StaticTracepoints, traced_syscalls
    from ._syscalls import syscall_names
    from ._tracefs import Tracefs

_LAZY = {
    "Arg": "_args",
    "StaticTracepoints": "_static",
    "Tracefs": "_tracefs",
    "closest": "_names",
    "describe_args": "_args",
    "list_probes": "_list",
    "list_rows": "_list",
    "matcher": "_glob",
    "row_args": "_list",
    "row_name": "_list",
    "similar_probes": "_list",
    "syscall_names": "_syscalls",
    "traced_syscalls": "_static",
}

__all__ = [
    "Arg",
    "Catalogue",
    "Location",
    "Match",
    "ProbeSpec",
    "StaticTracepoints",
    "Tracefs",
    "TracepointField",
    "TracepointFormat",
    "attach_multi",
    "closest",
    "describe_args",
    "expand_probe",
    "list_probes",
    "list_rows",
    "matcher",
    "parse_format",
    "parse_probe",
    "row_args",
    "row_name",
    "similar_probes",
    "syscall_names",
    "traced_syscalls",
]

__getattr__ = lazy(__name__, _LAZY)
