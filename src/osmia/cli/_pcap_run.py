"""`osmia run --pcap-in`: a packet program over a capture file."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from ..errors import UsageError
from ..session import Ended, Session
from ._engine import RunOptions, make_sink
from ._output import Output, OutputFile, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object
    from ..vm import Packet, Tally
    from ._options import Parsed


def run_capture(obj: Object, options: RunOptions, args: Parsed) -> int:
    """Run, print how often each verdict came, then the maps. Returns the exit status."""
    if options.cmd or options.pid:
        raise UsageError("run: --pcap-in does not go with --cmd or --pid")
    if args.text("target") == "kernel":
        raise UsageError("run: --pcap-in runs packets in user space", hint="leave out --target kernel")
    with OutputFile(options.output_file, options.buffering) as out:
        return _run(obj, options, args, out)


def _run(obj: Object, options: RunOptions, args: Parsed, out: Output) -> int:
    from ..vm import LoadedVm, VmTarget, packet_program, read_capture, run_packets, write_capture

    wanted = args.text("pcap_out")
    source = "/dev/stdin" if args.text("pcap_in") == "-" else args.text("pcap_in")
    if wanted == "-":
        raise UsageError("write capture -: standard output has the counts", hint="give --pcap-out a file")
    if wanted and os.path.exists(wanted) and os.path.exists(source) and os.path.samefile(wanted, source):
        raise UsageError(f"write capture {wanted}: it is the one that is read", hint="give another name")
    capture = read_capture(source)
    if capture.truncated:
        complain(f"WARNING: the capture ends within a packet: {capture.truncated} bytes are left out\n")
    if cut := capture.cut:
        complain(
            f"WARNING: {cut} of {len(capture)} packets were captured in part: programs see that part only "
            "(tcpdump -s 0 captures whole packets)\n"
        )
    names = args.texts("program")
    if len(names) > 1:
        raise UsageError("run: --pcap-in takes one --program")
    obj, name = packet_program(obj, *names)
    session = Session(
        obj,
        VmTarget(),
        sink=make_sink(options, out),
        unsafe=options.unsafe,
        warn=lambda text: complain(f"WARNING: {text}\n"),
    )
    with session:
        loaded = session.load()
        assert isinstance(loaded, LoadedVm)
        kept: list[Packet] = []

        def drain() -> None:
            session.drain()
            out.flush()

        keep = kept.append if wanted else None
        if ours := _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
            # An interrupt ends the run, not the process: what was counted is printed.
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        tally = run_packets(loaded, loaded.programs[name], capture, keep=keep, drain=drain)
        if ours:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        if tally.skipped:
            complain(f"WARNING: {tally.skipped} packets are not run: they are larger than 65535 bytes\n")
        out.write(_verdicts(tally, options.format))
        session.emit(Ended(0))
        session.emit_maps()
        out.flush(force=True)
        if wanted:
            write_capture(wanted, kept, kept[0].link if kept else next(iter(capture.links), 1))
        if tally.failure is not None:
            raise tally.failure
    return 0


def _verdicts(tally: Tally, format: str) -> str:
    rows = [(name, tally.packets[name], tally.bytes[name]) for name in sorted(tally.packets)]
    if format in ("json", "ndjson"):
        import json

        counts = {name: {"packets": packets, "bytes": size} for name, packets, size in rows}
        data = {"program": tally.program, "verdicts": counts, "written": tally.written, "skipped": tally.skipped}
        return json.dumps({"type": "verdicts", "data": data}) + "\n"
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(name) for name, *_ in rows)
    lines = [f"{'verdict':<{max(width, 7)}} {'packets':>12} {'bytes':>15}"]
    lines += [f"{name:<{max(width, 7)}} {packets:>12} {size:>15}" for name, packets, size in rows]
    return "\n".join(lines) + "\n"
