"""Read the verifier's log: where in the source it gave up, and why, in plain words."""

from __future__ import annotations

import re

from .. import syscalls
from ..errors import KernelError, NotSupported, VerifierError
from ..objects import line_at
from ..verifier import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import LinkedProgram, ProgramSpec

_NOISE = (
    "processed ",
    "verification time",
    "stack depth",
    "peak_states",
    "mark_precise",
    "from ",
    "; ",
    "cur state:",
    "old state:",
)
_PLACE = re.compile(r"^; (.*?) @ (.+):(\d+)$", re.M)
_INSN = re.compile(r"^(\d+): \([0-9a-f]{2}\)", re.M)


def message(log: str) -> str:
    """The verifier's own last words: the last line that is no instruction, state or statistics."""
    fallback = ""
    for line in reversed(log.splitlines()):
        text = line.strip()
        if not text or text.startswith(_NOISE) or re.match(r"(max_states_per|total_states|R\d+(_w)?=|\d+: )", text):
            continue
        if text.endswith(":") or re.match(r"(func#|Func#|Validating|Live regs|arg#\d+ reference type)", text):
            fallback = fallback or text
            continue
        return text
    return fallback


def place(log: str, linked: LinkedProgram | None) -> tuple[str, int, str]:
    """(file, line, source line) where the verifier stopped; ("", 0, "") when nothing tells."""
    matches = _PLACE.findall(log)
    stopped = _INSN.findall(log)
    if linked is not None and stopped:
        line = line_at(linked.lines, int(stopped[-1]))
        if line is not None:
            return line.file, line.line, line.text
    if matches:
        text, file, number = matches[-1]
        return file, int(number), text
    return "", 0, ""


# enum bpf_prog_type: what takes CAP_NET_ADMIN, and what takes CAP_PERFMON, beside CAP_BPF (is_net_admin_prog_type and
# is_perfmon_prog_type of kernel/bpf/syscall.c)
_NET = (3, 4, 6, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 25, 28, 32)
_PERF = (2, 5, 7, 17, 24, 26, 27, 28, 29)
_FUNCTION = (24, 25, 26, 27)  # BPF_TRACE_FENTRY, _FEXIT, BPF_MODIFY_RETURN, BPF_LSM_MAC
_TRACING = ("CAP_BPF", "CAP_PERFMON")


def program_capabilities(type: int) -> tuple[str, ...]:
    """What loading a program of this type takes, CAP_BPF first."""
    more = [name for name, types in (("CAP_PERFMON", _PERF), ("CAP_NET_ADMIN", _NET)) if type in types]
    return ("CAP_BPF", *more)


def load_error(spec: ProgramSpec, linked: LinkedProgram | None, errno: int, log: str) -> KernelError | NotSupported:
    """The error for a program that BPF_PROG_LOAD refused."""
    said = message(log)
    if not said:
        return _not_the_verifier(spec, errno)
    plain, remedy = reason(said)
    if not plain:
        plain, remedy = next((r for r in map(reason, reversed(log.splitlines()[-12:])) if r[0]), ("", ""))
    file, line, source = place(log, linked)
    where = f" at {file}:{line}" if line else ""
    cause = f"{plain}: {said}" if plain else said
    return VerifierError(
        f"load {spec.name}: the verifier refused it{where}: {cause}",
        program=spec.name,
        log=log,
        errno=errno,
        file=file,
        line=line,
        source_line=source,
        hint=remedy,
    )


def _not_the_verifier(spec: ProgramSpec, errno: int) -> KernelError | NotSupported:
    operation = "bpf(BPF_PROG_LOAD)"
    if errno in (1, 13):
        if spec.type in (26, 29) and spec.attach_type in _FUNCTION and all(map(syscalls.has_capability, _TRACING)):
            return _functions_refused(spec, errno)
        held = syscalls.effective_capabilities()
        needed = program_capabilities(spec.type)
        missing = (name for name in needed if not syscalls.stands_for(name, held))
        return syscalls.explain(operation, errno, spec.name, next(missing, needed[-1]))
    if errno in (22, 95, 524):
        from ._features import program_type_support

        lacking = program_type_support(spec.type)
        if lacking:
            return NotSupported(
                f"load {spec.name}: this kernel has no programs of type {lacking[0]}",
                feature=lacking[0],
                since=lacking[1],
            )
    return syscalls.explain(operation, errno, spec.name)


def _functions_refused(spec: ProgramSpec, errno: int) -> NotSupported:
    """A program for a function of the kernel, denied although the capabilities are held; the kernel logs nothing."""
    from ._kconfig import lacking_options

    options = ("CONFIG_FUNCTION_TRACER", "CONFIG_DYNAMIC_FTRACE", *(("CONFIG_BPF_LSM",) if spec.type == 29 else ()))
    lacking = lacking_options(options)
    instead = "use a tracepoint or uprobe"
    if lacking:
        cause, hint = f"this kernel was built without {', '.join(lacking)}", instead
    else:
        cause = f"the kernel refused it ({'EPERM' if errno == 1 else 'EACCES'}), and does not say why"
        what = ", ".join(options)
        looked = (
            f"it was built with {what}" if lacking == () else f"without {what} it cannot; its configuration is hidden"
        )
        hint = f"{looked}; {syscalls.suspects()}; or {instead}"
    return NotSupported(
        f"load {spec.name}: {cause}",
        feature="lsm" if spec.type == 29 else "fentry",
        since="5.7" if spec.type == 29 else "5.5",
        hint=hint,
    )
