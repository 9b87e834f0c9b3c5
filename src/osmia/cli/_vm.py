"""The user-space target on a command line."""

from __future__ import annotations

from ..errors import OsmiaError, PermissionDenied, SourceError
from ._output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object
    from ..vm import VmTarget
    from ._engine import RunOptions
    from ._options import Parsed
    from ._trace import Script


def live_target(options: RunOptions) -> VmTarget:
    """The target for a command or a process."""
    from ..vm import VmTarget

    return VmTarget.live(warn=lambda text: complain(f"WARNING: {text}\n"), keep=True)


def serves(obj: Object) -> bool:
    """Whether the user-space target has events for all probes of the object."""
    from ..vm import VmTarget

    sources = VmTarget.live().sources or ()
    own = ("begin", "end", "self", "test", "bench")
    return all(p.provider in own or any(s.wants(p) for s in sources) for p in obj.attach_points)


def offer(error: PermissionDenied | SourceError, script: Script, args: Parsed, options: RunOptions) -> None:
    """Add to the error's hint what can be done without the privilege, if the script's probes allow it.

    Errors of the source are left alone, but for tracepoints whose description is closed to us.
    """
    from ._trace import compile_script

    own = [] if isinstance(error, PermissionDenied) else [d for d in error.diagnostics if not d.follows]
    if not all("CAP_" in d.message for d in own):
        return
    try:
        obj = compile_script(script, args, options.replace(target="vm"), warn=False)
        if not serves(obj):
            return
    except OsmiaError:
        return
    how = "--target vm" if options.cmd or options.pid else "--target vm -c COMMAND"
    more = f"or trace one command without privileges, in user space: osmia trace {how}"
    if isinstance(error, PermissionDenied):
        error.hint = f"{error.hint}; {more}" if error.hint else more
        return
    last = own[-1]
    raise SourceError([*own[:-1], last.replace(hint=f"{last.hint}; {more}" if last.hint else more)]) from None
