"""`osmia verify`: would these programs load, on this kernel or on others?"""

from __future__ import annotations

import os
import sys

from .._data import Data
from ..errors import FormatError, NotSupported, ObjectError, OsmiaError, SourceError, UsageError
from ._engine import read_script, split_parameters
from ._options import Option, help_lines, nearest, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..btf import Btf
    from ..objects import Object, ProgramSpec
    from ..verifier import Policy, Profile, Program, Verdict
    from ._options import Parsed

OPTIONS = (
    Option(("-e", "--execute"), "verify the programs of this script", "SCRIPT"),
    Option(("-x", "--hex"), "verify instructions given in hexadecimal, 16 digits each", "HEX"),
    Option(
        ("-k", "--kernel"),
        "kernels to answer for: 6.1 or 5.4..6.12 or 5.10,6.1 or all (default: this one)",
        "VERSION",
        many=True,
    ),
    Option(("--unprivileged",), "as a user without CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN"),
    Option(("--strict",), "a policy in TOML: allowed helpers, maps, attach points; budgets", "FILE"),
    Option(("--btf",), "types of the kernel in question, for CO-RE relocations (default: this one's)", "FILE"),
    Option(("--type",), "program type of --hex (default: socket_filter)", "TYPE"),
    Option(("-o", "--output"), "format of the answer", "FORMAT", ("text", "json", "sarif")),
    Option(("-v", "--verbose"), "print the verifier's log"),
    Option(("-q", "--quiet"), "print refusals only"),
    Option(("-h", "--help"), "show this"),
)


class Problem(Data):
    """A file that has no answer."""

    file: str
    error: OsmiaError | OSError

    @property
    def message(self) -> str:
        return str(self.error)


class Finding(Data):
    """The answer of one kernel for one program; `violations` are those of the policy."""

    file: str
    program: Program
    profile: Profile
    verdict: Verdict
    violations: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.verdict.accepted and not self.violations


class Unready(Data):
    """A program that no loader can make ready for this kernel: it asks for what the kernel's types lack."""

    program: Program
    verdict: Verdict

    def finding(self, file: str, profile: Profile) -> Finding:
        return Finding(file=file, program=self.program, profile=profile, verdict=self.verdict)


def usage() -> str:
    return f"""usage: osmia verify [OPTION]... FILE... | -e SCRIPT | -x HEX

Say whether a kernel would load the programs of BPF object files, of scripts in the bpftrace language (FILE.bt) or of
bytecode (FILE.hex), without a kernel and without privileges: Osmia's own verifier answers, with a profile for each
version from 4.14 on. A refusal is explained on the source line, with the way that led there and what to write instead.

Exit status: 0 when everything would load, 1 when something would not (or does not compile), 2 for a wrong command line
or a file that cannot be read; the other files are answered all the same.

{help_lines(OPTIONS)}

  osmia verify prog.bpf.o
  osmia verify --kernel 5.4..6.12 -e 'interval:s:1 {{ @ = count(); }}'
  osmia verify --kernel all -o sarif build/*.bpf.o > verify.sarif
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    profiles = _profiles(args.texts("kernel"), privileged=not args.has("unprivileged"))
    policy = _policy(args.text("strict"))
    findings: list[Finding] = []
    problems: list[Problem] = []
    for file, programs in _sources(args):
        try:
            for program in programs():
                if isinstance(program, NotSupported):
                    problems.append(Problem(file=file, error=program))
                elif isinstance(program, Unready):
                    findings += [program.finding(file, p) for p in profiles]
                else:
                    findings += [_verify(file, program, p, policy, level=args.has("verbose")) for p in profiles]
        except (OsmiaError, OSError) as e:
            if not args.arguments or args.has("execute"):
                raise
            problems.append(Problem(file=file, error=e))
    if not findings and not problems:
        raise UsageError("verify: there are no programs in that", hint="give an object file or a script with probes")
    form = args.text("output", "text")
    if form == "text":
        _print_text(findings, quiet=args.has("quiet"), verbose=args.has("verbose"))
    else:
        import json

        lost = [_json_problem(p) for p in problems]
        answer = _sarif(findings, problems) if form == "sarif" else [_json(f) for f in findings] + lost
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return max(_complain(problems), int(not all(f.accepted for f in findings)))


def _complain(problems: list[Problem]) -> int:
    """Say of each file why there is no answer; gives the exit status for that."""
    from . import USAGE, report

    sys.stdout.flush()
    statuses = [0]
    for p in problems:
        status = report(p.error, [])
        statuses.append(status if isinstance(p.error, SourceError) else USAGE)
    return max(statuses)


def _verify(file: str, program: Program, profile: Profile, policy: Policy | None, *, level: bool) -> Finding:
    from ..verifier import verify

    verdict = verify(program, profile, level=int(level))
    violations = tuple(f"{v.rule}: {v.message}" for v in policy.check(program, verdict)) if policy is not None else ()
    return Finding(file=file, program=program, profile=profile, verdict=verdict, violations=violations)


# What is verified


def _sources(args: Parsed) -> Iterator[tuple[str, Callable[[], Iterable[Program | Unready | NotSupported]]]]:
    """What was given, by name, each with a function that reads it."""
    words = list(args.arguments)
    kind = args.text("type", "socket_filter")
    kernel = _kernel_types(args.text("btf"))
    if args.has("hex"):
        yield "hex", lambda: [_bytecode("--hex", args.text("hex"), kind)]
    elif args.has("execute"):
        params, named = split_parameters(words)
        yield "script", lambda: _of(_compile(args.text("execute"), "script", params, named), kernel)
    elif words:
        for path in sorted(words, key=lambda word: not word.endswith(".hex")):
            yield path, lambda path=path: _in_file(path, kind, kernel)  # type: ignore[misc]
    else:
        raise UsageError("verify: it needs something to verify", hint="give an object file, or -e 'script'")


def _in_file(path: str, kind: str, kernel: Btf | None) -> Iterable[Program | Unready | NotSupported]:
    if path.endswith(".hex"):
        return [_bytecode(path, read_script(path), kind)]
    return _of(_object(path), kernel)


def _of(obj: Object, kernel: Btf | None) -> Iterator[Program | Unready | NotSupported]:
    from ..verifier import from_spec

    for spec in obj.programs:
        try:
            yield from_spec(obj, spec, kernel)
        except ObjectError as e:
            yield _unready(spec, e)
        except NotSupported as e:
            yield e


def _unready(spec: ProgramSpec, error: ObjectError) -> Unready:
    from ..verifier import Explanation, Place, Program, Verdict

    text = error.message.removeprefix(f"verify {spec.name}: ")
    found = Explanation(message=text, reason=text, remedy=error.hint, place=Place(insn=-1))
    program = Program(b"", spec.type, spec.attach_type, name=spec.name)
    return Unready(program=program, verdict=Verdict(False, message=text, explanation=found))


def _kernel_types(path: str) -> Btf | None:
    if not path:
        return None
    from ..btf import load_kernel_btf

    try:
        return load_kernel_btf(path=path)
    except FormatError as e:
        raise UsageError(
            f"read types from {path}: {e.message.removeprefix('read BTF: ')}",
            hint="give a copy of /sys/kernel/btf/vmlinux of the kernel in question",
        ) from None


def _compile(script: str, name: str, params: tuple[str, ...], named: dict[str, str | bool]) -> Object:
    from .. import _api
    from ..errors import PermissionDenied

    try:
        return _api.compile(script, name=name, params=params, options=named, unsafe=True)
    except PermissionDenied as denied:
        # The fields of tracepoints stand in tracefs. Those of system calls are known without it.
        try:
            return _api.compile(script, name=name, params=params, options=named, unsafe=True, target="vm")
        except OsmiaError:
            raise denied from None


def _object(path: str) -> Object:
    if path.endswith(".bt") or path == "-":
        return _compile(read_script(path), path, (), {})
    if path.endswith((".c", ".h")):
        made = path[:-2] + ".o"
        raise UsageError(
            f"verify {path}: that is source, no object file", hint=f"clang -O2 -g -target bpf -c {path} -o {made} first"
        )
    from ._run_object import read_object

    return read_object(path)


def _bytecode(name: str, text: str, kind: str) -> Program:
    from ..isa import PROG_TYPES
    from ..verifier import Program

    if kind not in PROG_TYPES:
        close = nearest(kind, PROG_TYPES)
        raise UsageError(
            f"verify {name}: there is no program type {kind!r}",
            hint=close or "types are xdp, kprobe, sched_cls, ...",
        )
    try:
        code = bytes.fromhex(text)
    except ValueError as e:
        raise UsageError(f"verify {name}: {e}", hint="write two hexadecimal digits a byte") from None
    if not code or len(code) % 8:
        raise UsageError(f"verify {name}: {len(code)} bytes are no whole number of instructions of 8")
    return Program(insns=code, type=PROG_TYPES[kind], name=name.strip("-"))


# What answers


def _profiles(texts: Sequence[str], *, privileged: bool) -> list[Profile]:
    from ..verifier import profile, versions

    chosen: list[Profile] = []
    for text in [word.strip() for word in ",".join(texts).split(",")] if texts else [os.uname().release]:
        first, dots, last = text.partition("..")
        try:
            # Of a version that was named, the newest that is known is no answer.
            names = (first, last if dots else first) if text != "all" else ()
            ends = [profile(name, privileged=privileged, known=bool(texts)) for name in names]
        except OsmiaError as e:
            raise UsageError(e.message, hint=e.hint) from None
        if ends and ends[0].version > ends[1].version:
            raise UsageError(f"choose kernels {text}: {first} is newer than {last}", hint=f"write {last}..{first}")
        known = [profile(name, privileged=privileged) for name in versions()]
        between = [p for p in known if not ends or ends[0].version <= p.version <= ends[1].version]
        chosen += between if dots or not ends else ends
    return list(dict.fromkeys(chosen))


def _policy(path: str) -> Policy | None:
    if not path:
        return None
    from ..verifier import load_policy

    try:
        return load_policy(path)
    except OsmiaError as e:
        raise UsageError(e.message, hint=e.hint) from None
    except OSError as e:
        raise UsageError(f"open {path}: {os.strerror(e.errno or 0).lower()}") from None


# The answer


def _print_text(findings: list[Finding], *, quiet: bool, verbose: bool) -> None:
    """Kernels that say the same share a line."""
    out = sys.stdout
    groups: list[list[Finding]] = []
    for f in findings:
        if groups and _same(groups[-1][-1], f, logs=verbose):
            groups[-1].append(f)
        else:
            groups.append([f])
    explained: set[tuple[str, str, int]] = set()
    for group in groups:
        f, verdict = group[0], group[0].verdict
        name = f"{f.file}: {f.program.name or 'program'}, kernel {_spans([g.profile for g in group])}"
        if verbose and verdict.log:
            out.write(verdict.log.rstrip("\n") + "\n")
        if f.accepted:
            if not quiet:
                walked = max(g.verdict.processed for g in group)
                stack = max(verdict.stack_depths, default=0)
                out.write(f"{name}: would load ({walked} instructions walked, {stack} bytes of stack)\n")
            continue
        out.write(f"{name}: would not load\n")
        refusal = f.program.name, verdict.message, verdict.insn
        if not verdict.accepted and (verdict.explanation is None or refusal in explained):
            out.write(f"  verifier, as above: {verdict.message}\n")
        elif verdict.explanation is not None:
            explained.add(refusal)
            out.write(verdict.explanation.render() + "\n")
        for text in f.violations:
            out.write(f"  policy: {text}\n")


def _same(a: Finding, b: Finding, *, logs: bool) -> bool:
    """Whether two kernels gave one answer for one program."""
    first, second = a.verdict, b.verdict
    return (
        a.program is b.program
        and (first.accepted, first.message, first.insn) == (second.accepted, second.message, second.insn)
        and not (logs and first.log != second.log)
        and a.violations == b.violations
    )


def _json(f: Finding) -> dict[str, object]:
    verdict = f.verdict
    out: dict[str, object] = {
        "file": f.file,
        "program": f.program.name,
        "kernel": f.profile.name,
        "accepted": f.accepted,
        "processed": verdict.processed,
        "stack": max(verdict.stack_depths, default=0),
    }
    if not verdict.accepted:
        out |= {"message": verdict.message, "errno": verdict.errno, "instruction": verdict.insn}
        e = verdict.explanation
        if e is not None:
            out |= {"reason": e.reason, "remedy": e.remedy}
            if e.place.line:
                out |= {"source": {"file": e.place.file, "line": e.place.line, "text": e.place.source.strip()}}
            out["steps"] = [
                {"instruction": s.place.insn, "line": s.place.line or None, "note": s.note} for s in e.steps
            ]
    if f.violations:
        out["violations"] = list(f.violations)
    return out


def _json_problem(p: Problem) -> dict[str, object]:
    return {"file": p.file, "accepted": False, "error": p.message}


def _sarif(findings: list[Finding], problems: list[Problem]) -> dict[str, object]:
    """SARIF 2.1.0 (OASIS): one result for each refusal and each violated rule of the policy, with its kernels."""
    from .._version import __version__

    said: dict[tuple[str, int, str, int, str], list[Finding]] = {}
    for f in findings:
        if not f.verdict.accepted:
            said.setdefault((f.file, id(f.program), "verifier", f.verdict.insn, f.verdict.message), []).append(f)
        for text in f.violations:
            said.setdefault((f.file, id(f.program), "policy", -1, text), []).append(f)
    results: list[dict[str, object]] = []
    for (_, _, rule, _, text), alike in said.items():
        first = alike[0]
        e = first.verdict.explanation if rule == "verifier" else None
        name = (
            f"{first.program.name or 'program'} on kernel{'s' * (len(alike) > 1)} {_spans([f.profile for f in alike])}"
        )
        parts = [f"{name}: {text}", e.reason, e.remedy] if e is not None else [f"{name}: {text}"]
        results.append(_result(rule, ". ".join([p for p in parts if p]), first))
    rules = [
        {"id": "verifier", "shortDescription": {"text": "a kernel would refuse the program"}},
        {"id": "policy", "shortDescription": {"text": "the policy forbids it"}},
    ]
    driver = {
        "name": "osmia",
        "version": __version__,
        "informationUri": "https://pypi.org/project/osmia/",
        "rules": rules,
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "invocations": [_invocation(problems)], "results": results}],
    }


def _spans(profiles: list[Profile]) -> str:
    """`6.1`, `5.4 to 5.7, 6.1`: those in between that were not asked are not claimed."""
    from ..verifier import versions

    order = versions()
    runs: list[list[int]] = []
    for at in sorted(order.index(p.name) for p in profiles):
        if runs and at == runs[-1][-1] + 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    texts = [order[r[0]] if len(r) == 1 else f"{order[r[0]]} to {order[r[-1]]}" for r in runs]
    return ", ".join(texts)


def _uri(path: str) -> str:
    """The file from the current directory on if it is below that: services find it in their checkout so."""
    from urllib.parse import quote

    here, whole = os.getcwd(), os.path.abspath(path)
    if os.path.commonpath([here, whole]) == here:
        return quote(os.path.relpath(whole, here))
    return f"file://{quote(whole)}" if os.path.isabs(path) else quote(os.path.normpath(path))


def _invocation(problems: list[Problem]) -> dict[str, object]:
    """Files that could not be answered, where SARIF has failures of the tool rather than findings."""
    told: list[dict[str, object]] = [
        {
            "level": "error",
            "message": {"text": p.message},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(p.file)}}}],
        }
        for p in problems
    ]
    return {"executionSuccessful": not problems, "toolExecutionNotifications": told}


def _result(rule: str, text: str, f: Finding) -> dict[str, object]:
    e = f.verdict.explanation
    place: dict[str, object] = {"artifactLocation": {"uri": _uri(f.file)}}
    if rule == "verifier" and e is not None and e.place.line:
        place = {"artifactLocation": {"uri": _uri(e.place.file)}, "region": {"startLine": e.place.line}}
    logical = [{"name": f.program.name or "program", "kind": "function"}]
    return {
        "ruleId": rule,
        "level": "error",
        "message": {"text": text},
        "locations": [{"physicalLocation": place, "logicalLocations": logical}],
    }
