"""What the verifier's refusal means where a program needs a type or member that this kernel does not have."""

from __future__ import annotations

from ..errors import KernelError, NotSupported
from ..objects import POISON, unresolved_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object, ProgramSpec


def lacks_member(
    obj: Object, spec: ProgramSpec, log: str, error: KernelError | NotSupported
) -> KernelError | NotSupported:
    """The error that names the member, or `error` where the verifier's log is about something else."""
    for line in log.splitlines():
        number, _, rest = line.partition(": (85) call ")
        if f"unknown#{POISON}" not in rest or not number.isdecimal():
            continue
        what = unresolved_at(obj, spec, int(number))
        if what:
            file, at = getattr(error, "file", ""), getattr(error, "line", 0)
            where = f" at {file}:{at}" if at else ""
            return NotSupported(
                f"load {spec.name}: this kernel's types have no {what}, which the program needs{where}",
                feature=what,
                hint="guard the access with bpf_core_field_exists(), or use a member that this kernel has",
            )
    return error
