"""A target that runs nothing: tests fill its ring and maps by hand."""

from __future__ import annotations

import os
import struct
from typing import Any

from osmia.errors import AttachError
from osmia.objects import AttachPoint, EventFormat, Field, Function, MapFormat, MapSpec, Object, ProgramSpec, ValueType

U64 = ValueType("int", size=8)
S64 = ValueType("int", size=8, signed=True)
S32 = ValueType("int", size=4, signed=True)


def text_type(size: int) -> ValueType:
    return ValueType("string", size=size)


class FakeMap:
    def __init__(self, items: dict[bytes, bytes] | None = None) -> None:
        self.data = dict(items or {})

    def items(self):
        return iter(list(self.data.items()))

    def lookup(self, key: bytes):
        return self.data.get(key)

    def update(self, key: bytes, value: bytes) -> None:
        self.data[key] = value

    def delete(self, key: bytes) -> bool:
        return self.data.pop(key, None) is not None


class FakeProgram:
    def __init__(self, loaded: FakeLoaded, name: str) -> None:
        self.loaded, self.name = loaded, name

    def run_once(self, context: bytes = b"") -> int:
        self.loaded.log.append(("run", self.name))
        for record in self.loaded.target.on_run.get(self.name, ()):
            self.loaded.ring.append(record)
        return 0

    def test_run(self, data: bytes = b"", *, repeat: int = 0) -> Any:
        self.run_once()
        return type("Run", (), {"retval": self.loaded.target.retval.get(self.name, 0), "duration": 100})


class FakeLink:
    def __init__(self, loaded: FakeLoaded, name: str) -> None:
        self.loaded, self.name = loaded, name

    def close(self) -> None:
        self.loaded.log.append(("detach", self.name))


class FakeReader:
    def __init__(self, loaded: FakeLoaded) -> None:
        self.loaded = loaded
        self.r, self.w = os.pipe()

    def fileno(self) -> int:
        return self.r

    def drain(self) -> Any:
        records, self.loaded.ring = self.loaded.ring, []
        runs, at = [], 0
        for record in records:
            runs.append((at, 1, len(record), len(record)))
            at += len(record)
        return type("Batch", (), {"data": b"".join(records), "runs": runs, "count": len(runs)})

    def close(self) -> None:
        if self.r >= 0:
            os.close(self.r)
            os.close(self.w)
        self.r = self.w = -1


class FakeLoaded:
    def __init__(self, target: FakeTarget, obj: Object) -> None:
        self.target, self.object = target, obj
        self.log: list[tuple[str, str]] = []
        self.ring: list[bytes] = list(target.ring)
        self.maps = {spec.name: target.maps.setdefault(spec.name, FakeMap()) for spec in obj.maps}
        self.programs = {p.name: FakeProgram(self, p.name) for p in obj.programs}
        self.closed = False

    def attach(self, point: AttachPoint) -> FakeLink:
        if point.program in self.target.refuse:
            raise AttachError(f"attach {point.name}: no such function", probe=point.name)
        self.log.append(("attach", point.name))
        self.points = [*getattr(self, "points", []), point]
        return FakeLink(self, point.name)

    def detach_all(self) -> None:
        self.log += [("detach", p.name) for p in getattr(self, "points", [])]
        self.points = []

    def reader(self, ring: str) -> FakeReader:
        return FakeReader(self)

    def close(self) -> None:
        self.closed = True


class FakeTarget:
    def __init__(self, ring=(), maps=None, on_run=None, refuse=(), retval=None) -> None:
        self.ring, self.maps, self.on_run = ring, dict(maps or {}), dict(on_run or {})
        self.refuse, self.retval = refuse, dict(retval or {})

    def load(self, obj: Object) -> FakeLoaded:
        self.loaded = FakeLoaded(self, obj)
        return self.loaded


def program(name: str) -> ProgramSpec:
    return ProgramSpec(name, "raw_tp", 17, Function(name, b""))


def point(provider: str, program: str, **more: Any) -> AttachPoint:
    return AttachPoint(provider, program, name=f"{provider}:{program}", **more)


def make_object(
    points: tuple[AttachPoint, ...] = (),
    events: tuple[EventFormat, ...] = (),
    formats: tuple[MapFormat, ...] = (),
    **more: Any,
) -> Object:
    names = sorted({f.map for f in formats} | {"ring"} | set(more.pop("extra_maps", ())))
    return Object(
        programs=tuple(program(n) for n in sorted({p.program for p in points})),
        maps=tuple(MapSpec(n, 1, 8, 8, 1) for n in names),
        attach_points=points,
        events=events,
        map_formats=formats,
        ring="ring",
        **more,
    )


def record(format_id: int, payload: bytes = b"") -> bytes:
    return struct.pack("<Q", format_id) + payload


def fields(*types: ValueType, start: int = 8) -> tuple[Field, ...]:
    out = []
    for i, t in enumerate(types):
        out.append(Field(f"a{i}", start, t))
        start += max(t.size, 1)
    return tuple(out)
