"""The table of helpers. A helper is called with the machine and r1 to r5 and gives r0; it may give a negative number.

Helpers read and write program memory through the machine: an address that is not the program's is a VmFault, except
where the kernel's own helper answers with EFAULT. Each module has a `TABLE` by name.
"""

from __future__ import annotations

from ..isa import HELPERS as _NUMBERS
from . import (
    _helpers_csum,
    _helpers_dynptr,
    _helpers_map,
    _helpers_memory,
    _helpers_packet,
    _helpers_print,
    _helpers_redirect,
    _helpers_ring,
    _helpers_skb,
    _helpers_socket,
    _helpers_storage,
    _helpers_task,
    _helpers_timer,
    _helpers_world,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper

_MODULES = (
    _helpers_csum,
    _helpers_dynptr,
    _helpers_map,
    _helpers_memory,
    _helpers_packet,
    _helpers_print,
    _helpers_redirect,
    _helpers_ring,
    _helpers_skb,
    _helpers_socket,
    _helpers_storage,
    _helpers_task,
    _helpers_timer,
    _helpers_world,
)

HELPERS: dict[int, Helper] = {
    _NUMBERS[name]: helper for module in _MODULES for name, helper in module.TABLE.items() if name in _NUMBERS
}
