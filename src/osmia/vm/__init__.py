"""The user-space target: interpreter, JIT, maps, helpers and event sources; no root, no kernel.

`VmTarget` is to a session what `osmia.kernel.KernelTarget` is; `osmia.testing` is its face for unit tests.
"""

from __future__ import annotations

from .._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._coverage import Coverage
    from ._machine import Machine
    from ._oversight import Quota
    from ._pcap import Capture, Packet, read_capture, write_capture
    from ._program import PacketResult, VmProgram
    from ._sources import Task
    from ._target import LoadedVm, VmTarget
    from ._world import World

_LAZY = {
    "Capture": "_pcap",
    "Coverage": "_coverage",
    "LoadedVm": "_target",
    "Machine": "_machine",
    "Packet": "_pcap",
    "PacketResult": "_program",
    "Quota": "_oversight",
    "Task": "_sources",
    "VmProgram": "_program",
    "VmTarget": "_target",
    "World": "_world",
    "read_capture": "_pcap",
    "write_capture": "_pcap",
}

__all__ = [
    "Capture",
    "Coverage",
    "LoadedVm",
    "Machine",
    "Packet",
    "PacketResult",
    "Quota",
    "Task",
    "VmProgram",
    "VmTarget",
    "World",
    "read_capture",
    "write_capture",
]

__getattr__ = lazy(__name__, _LAZY)
