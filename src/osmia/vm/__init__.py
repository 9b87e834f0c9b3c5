"""The user-space target: interpreter, JIT, maps, helpers and event sources; no root, no kernel.

`VmTarget` is to a session what `osmia.kernel.KernelTarget` is; `osmia.testing` is its face for unit tests.
"""

from __future__ import annotations

from .._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._coverage import Coverage
    from ._loaded import LoadedVm, keys_of
    from ._machine import Machine
    from ._oversight import Quota
    from ._packets import Tally, packet_program, run_packets
    from ._pcap import Capture, Packet, read_capture, write_capture
    from ._program import PACKET_KINDS, PacketResult, VmProgram
    from ._recording import TASK_FIELDS, EventRecorder, RecordingWriter, read_recording, replay_event, task_fields
    from ._sources import Task
    from ._target import VmTarget
    from ._world import World

_LAZY = {
    "Capture": "_pcap",
    "Coverage": "_coverage",
    "EventRecorder": "_recording",
    "LoadedVm": "_loaded",
    "Machine": "_machine",
    "PACKET_KINDS": "_program",
    "Packet": "_pcap",
    "PacketResult": "_program",
    "Quota": "_oversight",
    "RecordingWriter": "_recording",
    "TASK_FIELDS": "_recording",
    "Tally": "_packets",
    "Task": "_sources",
    "VmProgram": "_program",
    "VmTarget": "_target",
    "World": "_world",
    "keys_of": "_loaded",
    "packet_program": "_packets",
    "read_capture": "_pcap",
    "read_recording": "_recording",
    "replay_event": "_recording",
    "run_packets": "_packets",
    "task_fields": "_recording",
    "write_capture": "_pcap",
}

__all__ = [
    "PACKET_KINDS",
    "TASK_FIELDS",
    "Capture",
    "Coverage",
    "EventRecorder",
    "LoadedVm",
    "Machine",
    "Packet",
    "PacketResult",
    "Quota",
    "RecordingWriter",
    "Tally",
    "Task",
    "VmProgram",
    "VmTarget",
    "World",
    "keys_of",
    "packet_program",
    "read_capture",
    "read_recording",
    "replay_event",
    "run_packets",
    "task_fields",
    "write_capture",
]

__getattr__ = lazy(__name__, _LAZY)
