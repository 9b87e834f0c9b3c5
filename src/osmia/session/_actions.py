"""What user space does for each record of the event ring."""

from __future__ import annotations

import os

from ..errors import OsmiaError
from . import _events as ev
from ._decode import compile_fields
from ._format import compile_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol, TypeAlias

    from ..objects import EventFormat, Object
    from ._decode import Decoder
    from ._maps import MapView
    from ._names import Names

    Handler: TypeAlias = Callable[[Any, int], None]

    class Host(Protocol):
        """The session, as the actions see it."""

        @property
        def object(self) -> Object: ...
        @property
        def names(self) -> Names: ...
        @property
        def maps(self) -> Mapping[str, MapView]: ...
        @property
        def unsafe(self) -> bool: ...
        @property
        def warnings(self) -> bool: ...

        emit: Callable[[ev.Event], None]

        def outside(self, make: Callable[[], ev.Event]) -> ev.Event: ...

        def exit(self, status: int) -> None: ...
        def setting(self, name: str, default: int) -> int: ...


def compile_action(format: EventFormat, host: Host) -> Handler:
    """`handle(buffer, offset)` for records of `format`."""
    make = _MAKERS.get(format.action)
    if make is None:
        raise OsmiaError(f"handle event {format.id}: unknown action {format.action!r}", hint="rebuild the object")
    return make(format, host, compile_fields(format.fields, host.names))


def _printf(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    text = compile_format(format.text, format.fields)
    probe = probe_of(format, host)
    printf = ev.Printf

    def handle(buffer: Any, offset: int) -> None:
        host.emit(printf(text, decode(buffer, offset), probe))

    return handle


def _message(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    text = compile_format(format.text, format.fields)
    severity = "error" if format.action == "errorf" else "warning"
    trail = str(dict(format.args).get("trail", ""))

    def handle(buffer: Any, offset: int) -> None:
        if severity == "error" or host.warnings:
            said = text(decode(buffer, offset))
            host.emit(ev.Message(severity, said, format.file, format.line, format.col, format.end_col, trail))

    return handle


def _print(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    return lambda buffer, offset: host.emit(ev.Print(decode(buffer, offset)[0]))


def _print_map(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    args = dict(format.args)
    view, top, div = host.maps[str(args["map"])], int(args.get("top", 0)), int(args.get("div", 1)) or 1

    if format.fields:
        at, size = format.fields[0].offset, format.fields[0].type.size

        def handle_one(buffer: Any, offset: int) -> None:
            host.emit(ev.Print(view.read(bytes(buffer[offset + at : offset + at + size]))))

        return handle_one

    def handle(_buffer: Any, _offset: int) -> None:
        shot = view.snapshot(top, div)
        if shot.scalar and shot.value is None and shot.kind != "hist":
            zero = view.empty_value()
            shot = ev.MapSnapshot(view.name, shot.kind, True, lambda: iter([(None, zero)]))
        host.emit(shot)

    return handle


def _clear(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    view = host.maps[str(dict(format.args)["map"])]
    return lambda _buffer, _offset: view.clear()


def _zero(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    view = host.maps[str(dict(format.args)["map"])]
    return lambda _buffer, _offset: view.zero()


def _exit(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    code = int(dict(format.args).get("code", 0))

    def handle(buffer: Any, offset: int) -> None:
        values = decode(buffer, offset)
        host.exit(values[0] if values else code)

    return handle


def _time(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    from time import strftime

    return lambda _buffer, _offset: host.emit(host.outside(lambda: ev.Time(strftime(format.text))))


def _join(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    delimiter = str(dict(format.args).get("delim", " "))

    def handle(buffer: Any, offset: int) -> None:
        words = []
        for word in decode(buffer, offset)[0]:
            if not word:
                break
            words.append(word)
        host.emit(ev.Join(delimiter.join(words)))

    return handle


def _cat(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    name = compile_format(format.text, format.fields)
    limit = host.setting("max_cat_bytes", 10240)

    def read(path: str) -> ev.Event:
        try:
            with open(path, "rb") as f:
                data = f.read(limit)
        except OSError as e:
            return ev.Message("error", f"failed to open file '{path}' ({os.strerror(e.errno or 0)})")
        return ev.Cat(data.decode("utf-8", "surrogateescape"))

    def handle(buffer: Any, offset: int) -> None:
        path = name(decode(buffer, offset))
        host.emit(host.outside(lambda: read(path)))

    return handle


def _system(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    command = compile_format(format.text, format.fields)

    def run(line: str) -> ev.Event:
        if not host.unsafe:
            return ev.Message("error", "system() not allowed in safe mode. Use '--unsafe'.")
        import subprocess

        from ._child import given_environment

        done = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, env=given_environment(), check=False)
        return ev.System(done.stdout.decode("utf-8", "surrogateescape"))

    def handle(buffer: Any, offset: int) -> None:
        line = command(decode(buffer, offset))
        host.emit(host.outside(lambda: run(line)))

    return handle


def _helper_error(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    helper = str(dict(format.args).get("helper", ""))

    def handle(buffer: Any, offset: int) -> None:
        values = decode(buffer, offset)
        host.emit(_fault(format, format.text, helper, values[0] if values else 0))

    return handle


def _runtime_error(format: EventFormat, host: Host, decode: Decoder) -> Handler:
    return lambda _buffer, _offset: host.emit(_fault(format, format.text))


def _fault(format: EventFormat, text: str, helper: str = "", code: int = 0) -> ev.RuntimeFault:
    return ev.RuntimeFault(
        text or os.strerror(-code),
        helper=helper,
        code=code,
        file=format.file,
        line=format.line,
        col=format.col,
        end_col=format.end_col,
        source=format.source,
    )


def probe_of(format: EventFormat, host: Host) -> str:
    """The probe's name where its block has one attach point; which of several it was, records do not say."""
    points = host.object.attach_points
    names = [p.name for p in points if p.source == format.probe] if format.probe >= 0 else []
    return names[0] if len(names) == 1 else ""


_MAKERS: dict[str, Callable[[EventFormat, Host, Decoder], Handler]] = {
    "printf": _printf,
    "errorf": _message,
    "warnf": _message,
    "print": _print,
    "print_map": _print_map,
    "clear": _clear,
    "zero": _zero,
    "exit": _exit,
    "time": _time,
    "join": _join,
    "cat": _cat,
    "system": _system,
    "syscall": _system,
    "helper_error": _helper_error,
    "runtime_error": _runtime_error,
}
