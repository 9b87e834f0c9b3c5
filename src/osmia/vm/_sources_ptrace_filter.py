"""Which system calls stop a traced command: the seccomp filter that picks them out.

Classic BPF over struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]} (linux/seccomp.h).
"""

from __future__ import annotations

from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TRACE, ALLOW = 0x7FF00000, 0x7FFF0000
_LOAD, _JEQ, _JGE, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_NR, _ARCH = 0, 4
# More runs of numbers than this: every call stops.
LARGEST = 120


def seccomp_filter(numbers: Iterable[int] | None, audit_arch: int, *, foreign: bool = False) -> bytes:
    """A filter that stops calls with these numbers (None: all). `foreign`: those of other architectures too."""
    stop, pass_on = pack("<HBBI", _RETURN, 0, 0, TRACE), pack("<HBBI", _RETURN, 0, 0, ALLOW)
    other = stop if foreign else pass_on
    head = pack("<HBBI", _LOAD, 0, 0, _ARCH) + pack("<HBBI", _JEQ, 1, 0, audit_arch) + other
    runs = _runs(numbers) if numbers is not None else []
    if numbers is None or len(runs) > LARGEST:
        return head + stop
    body = pack("<HBBI", _LOAD, 0, 0, _NR)
    for first, last in runs:
        if first == last:
            body += pack("<HBBI", _JEQ, 0, 1, first) + stop
        else:
            # below first: on; above last: on; else stop
            body += pack("<HBBI", _JGE, 0, 2, first) + pack("<HBBI", _JGE, 1, 0, last + 1) + stop
    return head + body + pass_on


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs
