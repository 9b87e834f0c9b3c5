"""`osmia run`: load and attach a BPF object file."""

from __future__ import annotations

import os
import sys

from ..errors import FormatError, UsageError
from ._engine import RunOptions, parse_pid, run_object
from ._options import Option, help_lines, parse
from ._trace import TARGETS, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..objects import Object
    from ._options import Parsed

OPTIONS = (
    Option(("-o", "--output"), "format of the output", "FORMAT", ("text", "json", "ndjson")),
    Option(("--output-file",), "write the output to this file", "FILE"),
    Option(("--set",), "set a global variable, such as a const volatile one, before loading", "NAME=VALUE", many=True),
    Option(
        ("--ring",), "records of this ring buffer are of this C type; without a type, bytes", "NAME[:TYPE]", many=True
    ),
    Option(("--trace-pipe",), "print what programs write with bpf_printk too"),
    Option(("--duration",), "end after so many seconds", "SECONDS"),
    Option(("-p", "--pid"), "attach to one process", "PID"),
    Option(("-c", "--cmd"), "start this command; the run ends with it", "COMMAND"),
    Option(("-B", "--buffering"), "when output is written", "MODE", ("none", "line", "full")),
    Option(("-q", "--quiet"), "do not say how many probes are attached"),
    Option(
        ("-v", "--verbose"), "show the verifier's log where a program is refused; with --dry-run what is in the file"
    ),
    Option(("--unsafe",), "allow system()"),
    Option(("--target",), "run it in the kernel, or in user space", "TARGET", TARGETS),
    Option(
        ("--pcap-in",),
        "run a packet program on the packets of this file (-: standard input), in user space; count verdicts",
        "FILE",
    ),
    Option(("--pcap-out",), "write the packets that it lets pass, as it leaves them", "FILE"),
    Option(("--program",), "load this program alone of the file, and those in its program arrays", "NAME", many=True),
    Option(("--dry-run",), "attach everything, then end"),
    Option(("-h", "--help"), "show this"),
)


def usage() -> str:
    return f"""usage: osmia run [OPTION]... FILE.bpf.o

Load a BPF object file, attach its programs by their sections, and print what they report until interrupted; then its
maps, and variables that are neither constant nor zero, typed by the file's BTF. Of a per-CPU map, numbers are added
up and other values shown CPU by CPU; elements of arrays that are all zero are left out. Records of ring buffers are
typed by __type(value, T) in the map's definition, by struct NAME_event or struct event, or by --ring; else they are
shown in hexadecimal.

{help_lines(OPTIONS)}
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    if len(args.arguments) != 1:
        raise UsageError("run: it needs one object file")
    obj = prepared(args.arguments[0], args)
    options = RunOptions(
        format=args.text("output", "text"),
        output_file=args.text("output_file"),
        buffering=args.text("buffering", "line"),
        quiet=args.has("quiet"),
        verbose=args.has("verbose"),
        dry_run=args.has("dry_run"),
        pid=parse_pid(args.text("pid")) if args.has("pid") else 0,
        cmd=command(args),
        duration=args.seconds("duration"),
        unsafe=args.has("unsafe"),
        trace_pipe=args.has("trace_pipe"),
        target=args.text("target", "kernel"),
    )
    if args.given("pcap_in"):
        from ._pcap_run import run_capture

        return run_capture(obj, options, args)
    if args.given("pcap_out"):
        raise UsageError("run: --pcap-out goes with --pcap-in")
    if args.has("program"):
        from ..objects import select_programs

        obj = select_programs(obj, args.texts("program"))
    if options.dry_run and options.verbose:
        from ._describe import describe

        sys.stdout.write(describe(obj))
        sys.stdout.flush()
    return run_object(obj, options)


def read_object(path: str) -> Object:
    """The object in a file; `UsageError` or `FormatError`, naming the file."""
    from ..objects import read_elf

    try:
        with open(path, "rb") as f:
            return read_elf(f.read(), path)
    except OSError as e:
        raise UsageError(f"open {path}: {os.strerror(e.errno or 0).lower()}") from None
    except FormatError as e:
        # Which file it is, where the reader knows the part at hand only.
        if path not in e.message:
            e.message = f"read {path}: {e.message.removeprefix('read object: ')}"
        raise


def prepared(path: str, args: Parsed) -> Object:
    """The object of a file with its variables set, and with formats of what it will print."""
    from ..objects import derive_formats, set_variables
    from ..syscalls import possible_cpus

    obj = read_object(path)
    values = {}
    for text in args.texts("set"):
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"read option --set: {text!r} is not NAME=VALUE")
        values[name] = value
    if values:
        obj = set_variables(obj, values)
    rings: dict[str, str | None] = {}
    for text in args.texts("ring"):
        name, _, wanted = text.partition(":")
        rings[name] = wanted or None
    return obj.replace(map_formats=obj.map_formats + derive_formats(obj, cpus=possible_cpus(), rings=rings))
