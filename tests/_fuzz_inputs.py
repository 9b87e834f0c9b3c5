"""Inputs that a user-space target may be given by anyone: makers of bad ones, and what is done with each.

An input follows from the name of its kind, a seed and a number, so that it can be made again alone. Each kind's `run`
gives the outcome as a word; whatever but an OsmiaError comes out of it is a bug.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import _random_programs
from _vm_programs import make as make_accepted

from osmia.btf import Btf
from osmia.errors import OsmiaError
from osmia.isa import HELPERS, MAP_TYPES, PROG_TYPES, assemble
from osmia.objects import Function, LineInfo, MapSpec, Object, ProgramSpec, link, pack, read_elf
from osmia.verifier import MapInfo, Program, Subprogram, from_spec, profile, verify, versions
from osmia.verifier._policy import parse_policy
from osmia.vm import VmTarget
from osmia.vm._code_check import FIELDS
from osmia.vm._packets import run_packets
from osmia.vm._pcap import Capture, Packet, encode_pcap, read_capture
from osmia.vm._recording import MAGIC, RecordingWriter, decode_recording, read_recording

HERE = Path(__file__).resolve().parent
MEMORY_LIMIT = 16 << 20
OPCODES = sorted(FIELDS)
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 24, 32, 64, 255, 256, 4096, -1, -8, 0x7FFFFFFF, -0x80000000)
HELPER_IDS = sorted(HELPERS.values())
Rng = random.Random


# Bytes


def mutate(rng: Rng, data: bytes, most: int = 4) -> bytes:
    """A few bytes, words or ranges of `data` changed, cut, doubled or moved."""
    out = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if not out:
            return rng.randbytes(rng.randint(0, 64))
        at = rng.randrange(len(out))
        how = rng.randrange(8)
        if how < 2:
            out[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            out[at] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.getrandbits(8)))
        elif how < 5:
            size = rng.choice((2, 4, 4, 8))
            at = at & -size if rng.random() < 0.8 else at
            value = rng.choice((*NUMBERS, len(data), len(data) - at, rng.getrandbits(32), at))
            out[at : at + size] = (value & (1 << size * 8) - 1).to_bytes(size, "little")
        elif how == 5:
            del out[at : at + rng.choice((1, 4, 8, 16, len(out)))]
        else:
            size = rng.choice((1, 4, 8, 24, 64))
            start = rng.randrange(len(out))
            piece = out[start : start + size]
            out[at : at + (0 if how == 6 else len(piece))] = piece
    return bytes(out[: 4 * len(data) + 4096])


# Programs


def arbitrary(rng: Rng) -> bytes:
    """Instructions whose fields are mostly allowed."""
    count = rng.randint(1, 16)
    out = bytearray()
    for k in range(count):
        opcode = rng.choice(OPCODES)
        fields = FIELDS[opcode]
        cls = opcode & 7
        dst = rng.choice((*range(10), 1, 9, 10)) if fields & 1 else 0
        src = rng.choice((*range(11), 1, 10)) if fields & 2 else 0
        off = rng.choice((0, 1, -8, -16, -512, 2, 4, 8, rng.randint(-20, 20))) if fields & 4 else 0
        imm = rng.choice((*NUMBERS, rng.getrandbits(31))) if fields & 8 else 0
        if opcode == 0x18:
            src, imm = rng.choice((0, 0, 0, 0, 1, 1, 1, 1, 2, 2, rng.randrange(7))), rng.choice((0, 1, 2, 3))
        elif opcode == 0x85:
            src = rng.choice((0, 0, 0, 0, 0, 1, 1, rng.randrange(3)))
            imm = rng.randint(-k, count) if src == 1 else rng.choice((1, 2, 3, 12, 14, rng.choice(HELPER_IDS)))
        elif cls in (4, 7) and opcode & 0xF0 == 0xD0:
            imm = rng.choice((16, 32, 64))
        elif opcode & 0xE7 == 0xC3:
            imm = rng.choice((0, 1, 0x41, 0x50, 0xA1, 0xE1, 0xF1, 0x100, 0x110))
            opcode = opcode | 0x18 if rng.random() < 0.5 else opcode & ~0x18
        elif cls in (5, 6) and opcode not in (0x85, 0x8D, 0x95) and rng.random() < 0.9:
            imm, off = (rng.randint(-k, count - k), 0) if opcode == 0x06 else (imm, rng.randint(-k, count - k))
        out += bytes((opcode, dst | src << 4)) + struct.pack("<hI", off, imm & 0xFFFFFFFF)
        if opcode == 0x18:
            out += bytes(4) + struct.pack("<I", rng.choice((0, 0, 8, 0xFFFFFFFF)))
    return bytes(out) + (b"\xb7" + bytes(7)) * (rng.random() < 0.5) + b"\x95" + bytes(7)


@cache
def linked() -> tuple[bytes, ...]:
    """Instructions of real programs."""
    found = []
    for _, obj in objects():
        found += [link(spec, obj).insns for spec in obj.programs]
    return tuple(found)


@cache
def objects() -> tuple[tuple[bytes, Object], ...]:
    """Real BPF objects, and what they hold."""
    paths = [*(HERE / "unit/verifier/refused").glob("*.bpf.o"), HERE.parent / "docs/examples/count.bpf.o"]
    return tuple((data, read_elf(data)) for data in (p.read_bytes() for p in sorted(paths)))


def bytecode(rng: Rng) -> bytes:
    """Bytes as a program: nonsense, nearly right, and right but for a few bytes."""
    how = rng.randrange(10)
    if how == 0:
        return rng.randbytes(8 * rng.randint(0, 12) + rng.choice((0, 0, 0, 3)))
    if how < 4:
        return arbitrary(rng)
    if how < 6:
        return mutate(rng, make_accepted(rng.getrandbits(30)).insns)
    if how < 8:
        try:
            good = assemble(_random_programs.Writer(rng.getrandbits(30)).text())
        except OsmiaError:
            return arbitrary(rng)
        return good if rng.random() < 0.5 else mutate(rng, good, 2)
    if how == 8:
        return mutate(rng, rng.choice(linked()), 3)
    parts = [rng.choice((arbitrary(rng), rng.choice(linked()))) for _ in range(2)]
    return parts[0][: 8 * rng.randint(0, 20)] + parts[1][8 * rng.randint(0, 20) :]


def _number(rng: Rng) -> int:
    return rng.choice((0, 1, 4, 4, 8, 8, 16, 64, 256, 4096, 65536, rng.getrandbits(32)))


def map_info(rng: Rng, depth: int = 1) -> MapInfo:
    """A map of any type and shape."""
    inner = map_info(rng, depth - 1) if depth and rng.random() < 0.2 else None
    fields = []
    while rng.random() < 0.15:
        fields.append((rng.choice((0, 4, 8, 60)), rng.choice((4, 8, 16)), rng.choice(_FIELDS)))
    frozen = rng.randbytes(rng.choice((0, 8, 64))) if rng.random() < 0.1 else None
    kind = rng.choice((*MAP_TYPES.values(), 1, 2, 27, rng.getrandbits(8)))
    return MapInfo(
        kind, _number(rng), _number(rng), _number(rng), rng.choice((0, 0, 0, 1, 128, 1024)), "m", inner, frozen,
        tuple(fields), rng.choice((0, 0, 1, 7)),
    )  # fmt: skip


_FIELDS = ("spin_lock", "timer", "kptr", "wq", "list_head", "rb_root", "refcount", "uptr", "nothing")


def program(rng: Rng) -> tuple[Program, object, bool, int]:
    """What `verify` takes: any type, profile, privilege and level of log."""
    insns = bytecode(rng)
    obj = rng.choice(objects())[1]
    subs = tuple(
        Subprogram(rng.randint(-1, len(insns) // 8 + 1), "f", rng.random() < 0.3, rng.choice((0, 1, 5, 999)))
        for _ in range(rng.choice((0, 0, 0, 1, 3)))
    )
    lines = tuple(LineInfo(rng.randint(-1, 30), "f.c", 3, 0, "x = 1;") for _ in range(rng.choice((0, 0, 2))))
    made = Program(
        insns=insns,
        type=rng.choice((*PROG_TYPES.values(), 6, 3, 1, rng.getrandbits(8))),
        attach_type=rng.choice((0, 0, 0, rng.randrange(60))),
        license=rng.choice(("GPL", "MIT", "")),
        maps=tuple(map_info(rng) for _ in range(rng.choice((4, 3, 1, 0)))),
        subprograms=subs,
        lines=lines,
        btf=rng.choice((b"", b"", obj.btf, mutate(rng, obj.btf))),
        attach_to=rng.choice(("", "", "vfs_read", "sched_switch", "no_such_thing")),
        flags=rng.choice((0, 0, 0, 16, 32, rng.getrandbits(8))),
    )
    how = rng.random()
    if how < 0.4:  # about right: the kernel would take every other one
        made = _written(rng, made)
    elif how < 0.6:
        real = rng.choice(_judged())
        made = real if rng.random() < 0.3 else real.replace(insns=mutate(rng, real.insns, 2))
    chosen = profile(rng.choice(versions())) if rng.random() < 0.6 else None
    return made, chosen, rng.random() < 0.7, int(rng.random() < 0.05)


def _written(rng: Rng, other: Program) -> Program:
    writer = _random_programs.Writer(rng.getrandbits(30))
    try:
        insns = assemble(writer.text())
    except OsmiaError:
        return other
    maps = tuple(MapInfo(MAP_TYPES[kind], key, value, entries) for kind, key, value, entries in _random_programs.MAPS)
    return Program(insns if rng.random() < 0.5 else mutate(rng, insns, 2), PROG_TYPES[writer.type], maps=maps)


def run_verify(made: tuple[Program, object, bool, int]) -> str:
    given, chosen, privileged, level = made
    verdict = verify(given, chosen, privileged=privileged, level=level)  # type: ignore[arg-type]
    assert verdict.accepted or verdict.message
    if verdict.explanation is not None:
        verdict.explanation.render()
    return "accepted" if verdict.accepted else "refused"


# Objects and their runs


def spec(rng: Rng) -> MapSpec:
    """A map that may be created, or not."""
    if rng.random() < 0.9:
        kind, key, value, entries = rng.choice(SHAPES)
        return MapSpec("m", kind, key, value, entries)
    kind = rng.choice((*MAP_TYPES.values(), 1, 2, 2, 27))
    entries = rng.choice((1, 4, 4096, 16, _number(rng)))
    contents = rng.randbytes(rng.choice((4, 64))) if rng.random() < 0.1 else None
    inner = MapSpec("inner", 2, 4, 8, 1) if rng.random() < 0.2 else None
    shapes = ((4, 8), (4, 64), (8, 8), (0, 0), (4, 4), (_number(rng), _number(rng)))
    return MapSpec(
        "m", kind, *rng.choice(shapes), entries, rng.choice((0, 0, 1, 2, 128)), contents=contents, inner=inner
    )


# Maps as they are made: hash, array, ring, per CPU, LRU, trie, queue, stack, prog array, perf, bloom, devmap, storage.
SHAPES = (
    (1, 4, 8, 16), (1, 8, 64, 4), (2, 4, 64, 4), (2, 4, 8, 1), (27, 0, 0, 4096), (5, 4, 8, 8), (6, 4, 8, 2),
    (9, 4, 8, 8), (10, 4, 8, 8), (11, 8, 8, 8), (22, 0, 8, 4), (23, 0, 8, 4), (3, 4, 4, 2), (4, 4, 4, 2), (30, 0, 8, 9),
    (7, 4, 64, 16), (14, 4, 4, 4),
)  # fmt: skip


def object_of(rng: Rng) -> tuple[Object, bytes]:
    """An object around random instructions, and the context or packet to run it on."""
    maps = tuple(spec(rng).replace(name=f"m{n}") for n in range(rng.choice((0, 1, 2, 3))))
    insns = arbitrary(rng) if rng.random() < 0.4 else bytecode(rng)
    function = Function("f", b"\xbf\xa9" + bytes(6) + insns)
    relocations = []
    at = 0
    while at + 16 <= len(function.insns):
        wide = function.insns[at] == 0x18
        if wide and function.insns[at + 1] >> 4 in (1, 2) and maps:
            from osmia.objects import Relocation

            chosen = rng.choice(maps).name
            relocations.append(Relocation(at // 8, "map" if function.insns[at + 1] >> 4 == 1 else "map_value", chosen))
        at += 16 if wide else 8
    made = ProgramSpec("f", "x", rng.choice((6, 3, 1, 5, 17, 8, 2)), function.replace(relocations=tuple(relocations)))
    return Object(programs=(made,), maps=maps), rng.randbytes(rng.choice((0, 14, 60, 200)))


def run_target(made: tuple[Object, bytes], engine: str = "interpreter") -> str:
    obj, data = made
    target = VmTarget(engine=engine, checked=True, memory_limit=MEMORY_LIMIT)
    target._cache = lambda: None  # type: ignore[method-assign]  # the user's cache is for the user's programs
    with target.load(obj) as loaded:
        loaded.machine.mock("override_return", lambda *_: 0)
        made_program = next(iter(loaded.programs.values()))
        made_program.fuel = 20_000
        made_program.test_run(data, data)
        for made_map in loaded.maps.values():
            for _, _ in zip(range(10), made_map.items(), strict=False):
                continue
    return "ran"


def run_native(made: tuple[Object, bytes]) -> str:
    return run_target(made, "jit")


def elf(rng: Rng) -> bytes:
    """A BPF object with a few bytes changed, cut, or nonsense."""
    if rng.random() < 0.03:
        return rng.randbytes(rng.randint(0, 400))
    data = rng.choice(objects())[0]
    how = rng.random()
    if how < 0.15:
        return data[: rng.randrange(len(data))]
    if how < 0.45:  # the section headers, at the end, and the header
        (start,) = struct.unpack_from("<Q", data, 40)
        out = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            at = rng.choice((rng.randrange(64), rng.randrange(start, len(data))))
            at &= -rng.choice((1, 4, 8))
            out[at : at + 4] = struct.pack("<I", rng.choice((*NUMBERS, len(data), rng.getrandbits(32))) & 0xFFFFFFFF)
        return bytes(out)
    return mutate(rng, data)


def run_elf(data: bytes) -> str:
    obj = read_elf(data)
    ran = "read"
    for each in obj.programs:
        verify(from_spec(obj, each))
        ran = "verified"
    target = VmTarget(engine="interpreter", checked=True, memory_limit=MEMORY_LIMIT)
    with target.load(obj) as loaded:
        for each_program in loaded.programs.values():
            each_program.fuel = 20_000
            each_program.test_run(bytes(60), bytes(64))
            ran = "ran"
    return ran


def types(rng: Rng) -> bytes:
    """BTF with a few words changed."""
    data = rng.choice(objects())[1].btf
    return mutate(rng, data, 3) if rng.random() < 0.97 else rng.randbytes(rng.randint(0, 100))


def run_types(data: bytes) -> str:
    from osmia.btf import describe, render_c
    from osmia.verifier._from_spec import _special_fields

    btf = Btf(data)
    outcome = "read"
    try:
        for made in btf:
            try:
                btf.size_of(made.id)
                btf.members(made.id)
                describe(btf, made.id)
                btf.find(made.name)
            except OsmiaError:
                outcome = "partly"
        for id in range(min(len(btf), 200)):
            _special_fields(btf, id, 0, [], 4)
        render_c(btf)
    finally:
        btf.close()
    return outcome


# Files


@cache
def captures() -> tuple[bytes, ...]:
    """Captures of every format and byte order."""
    _scratch()  # one folder, before processes fork
    frames = [bytes(range(n)) for n in (0, 14, 60, 200)]
    out = [b"".join(encode_pcap([Packet(f, n * 10**9, len(f) + n) for n, f in enumerate(frames)]))]
    for order in "<>":
        blocks = [(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
        blocks += [(1, struct.pack(order + "HHIHHB3x", 1, 0, 100, 9, 1, 9)), (1, struct.pack(order + "HHI", 101, 0, 0))]
        blocks += [(6, struct.pack(order + "IIIII", n & 1, 5, 7, len(f), len(f)) + f) for n, f in enumerate(frames)]
        blocks += [
            (3, struct.pack(order + "I", 60) + frames[2]),
            (2, struct.pack(order + "HHIIII", 0, 0, 1, 2, 14, 14)),
        ]
        data = b""
        for kind, body in blocks:
            body += bytes(-len(body) % 4) + (bytes(16) if kind == 2 else b"")
            data += struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)
        out.append(data)
        out.append(
            struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
            + b"".join(struct.pack(order + "IIII", 7, 5, len(f), len(f)) + f for f in frames)
        )
    return tuple(out)


def capture(rng: Rng) -> bytes:
    data = rng.choice(captures())
    return data[:4] + rng.randbytes(rng.randint(0, 80)) if rng.random() < 0.1 else mutate(rng, data)


@cache
def _scratch() -> Path:
    made = Path(tempfile.mkdtemp(prefix=f"fuzz-{os.getuid()}-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def run_capture(data: bytes) -> str:
    path = _scratch() / f"{os.getpid()}.pcap"
    path.write_bytes(data)
    try:
        found = read_capture(path)
    finally:
        path.unlink()
    for packet in found:
        assert len(packet.data) <= len(data)
    if zlib.crc32(data) % 64 == 0:  # a program on its packets, now and then
        insns = assemble("r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 0)\nr0 &= 3\nexit")
        obj = Object(programs=(ProgramSpec("f", "xdp", 6, Function("f", insns)),), maps=())
        with VmTarget(engine="interpreter", checked=True, memory_limit=MEMORY_LIMIT).load(obj) as loaded:
            run_packets(loaded, next(iter(loaded.programs.values())), Capture(data))
            return "ran"
    return "read"


SCRIPT = """begin { printf("begin %d\\n", cpid); }
tracepoint:syscalls:sys_enter_openat { @[comm, str(args.filename)] = count(); printf("%d %s\\n", rand, comm); }
interval:ms:5 { print(@); clear(@); } end { printf("%d\\n", elapsed); }"""


@cache
def recording() -> bytes:
    """A trace of a few processes, recorded once."""
    import osmia
    from osmia.session import Session
    from osmia.session._tape import Recorder
    from osmia.sinks import TextSink

    path = _scratch() / "trace.osm"
    obj = osmia.compile(SCRIPT, target="vm", has_cmd=True)
    sink = TextSink(lambda _: None, lambda _: None)
    command = ["/bin/cat", "/dev/null"]
    with Session(obj, VmTarget.live(), sink=sink, cmd=command, tape=Recorder(str(path))) as session:
        session.start()
        session.run()
    return path.read_bytes()


@cache
def _entries() -> tuple[tuple[object, ...], ...]:
    return tuple(decode_recording(recording()))


def damaged(rng: Rng) -> bytes:
    """A recording with bytes changed, most with checksums that are right."""
    data = recording()
    if rng.random() < 0.2:
        return mutate(rng, data)
    out, at, total = bytearray(MAGIC), len(MAGIC), 0
    wrong = rng.random() * 0.02
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        payload = data[at + 8 : at + 8 + size]
        if rng.random() < wrong:
            payload = mutate(rng, payload)
        total = zlib.crc32(payload, total)
        out += struct.pack("<II", len(payload), total) + payload
        at += 8 + size
    return bytes(out)


def run_recording(data: bytes) -> str:
    return f"{min(len(decode_recording(data)), 1)} entries or more"


OTHERS = (None, -1, 0, 1, 1 << 70, b"", b"x" * 70, "x", "event", (), (1, 2), ((),), True)


def nonsense(rng: Rng) -> list[tuple[object, ...]]:
    """Entries of a recording with wrong fields, missing, doubled and moved."""
    out = list(_entries())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out))
        entry = list(out[at])
        how = rng.randrange(8)
        if how < 5:
            place = rng.randrange(len(entry))
            inner = entry[place]
            if isinstance(inner, tuple) and inner and rng.random() < 0.7:
                changed = list(inner)
                changed[rng.randrange(len(changed))] = rng.choice(OTHERS)
                entry[place] = tuple(changed)
            else:
                entry[place] = mutate(rng, inner) if isinstance(inner, bytes) else rng.choice(OTHERS)
            out[at] = tuple(entry)
        elif how == 5:
            del out[at]
        else:
            out.insert(rng.randrange(len(out)), out[at])
        if not out:
            break
    return out


def run_replay(entries: list[tuple[object, ...]]) -> str:
    from osmia.session import Session
    from osmia.session._replay import Replay, replay
    from osmia.sinks import TextSink

    path = _scratch() / f"{os.getpid()}.osm"
    try:
        with RecordingWriter(path) as writer:
            for entry in entries:
                writer.write(entry)
        assert len(read_recording(path)) == len(entries)
        tape = Replay(str(path))
        sink = TextSink(lambda _: None, lambda _: None)
        with Session(tape.object, None, sink=sink, tape=tape) as session:  # type: ignore[arg-type]
            replay(session, tape)
    finally:
        path.unlink(missing_ok=True)
    return "replayed"


POLICY = """[programs]
types = ["xdp", "sched_cls"]
attach = ["eth0", "sched:*"]
licenses = ["GPL", "Dual BSD/GPL"]
[helpers]
allow = ["map_*", "ktime_get_ns"]
deny = ["probe_write_user"]
[kfuncs]
allow = []
[maps]
types = ["hash", "array", "ringbuf"]
max_entries = 10000
max_bytes = 1048576
[budget]
instructions = 4096
walked = 100000
stack = 256
maps = 8
"""
WORDS = (
    "[", "]", "[[", "]]", "=", '"', "'", "\n", "#", ",", "{", "}", "1e9", "-1", "true", "nan", "inf", "[programs]",
    "[maps]\n", "[budget]\n", "0x", '"\\ud800"', "'''", '"""', "1979-05-27", ".", "[[[[" * 60, "9" * 5000, "a." * 400,
    "{a=" * 300, "\0", "\ud800", "[!*]", '"[[]"', "types", "maps", "max_entries", "types = [" * 9, '"*"', '"map_[a-"',
)  # fmt: skip


def policy(rng: Rng) -> str:
    text = POLICY
    if rng.random() < 0.05:
        return rng.randbytes(rng.randint(0, 80)).decode("latin-1")
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice((0, 1, 1, 3, 12, 60)))
        text = text[:at] + rng.choice((rng.choice(WORDS), text[to : to + 20], "", chr(rng.getrandbits(7)))) + text[to:]
    return text


@cache
def _judged() -> tuple[Program, ...]:
    return tuple(from_spec(obj, each) for _, obj in objects() for each in obj.programs)


def run_policy(text: str) -> str:
    found = parse_policy(text)
    broken = [violation for each in _judged()[:4] for violation in found.check(each)]
    return "forbids" if broken else "allows"


def _prepare() -> None:
    linked()
    _judged()


class Kind:
    """`make` gives an input, `run` does with it what a user would; `setup` is done before processes fork."""

    def __init__(
        self, make: Callable[[Rng], object], run: Callable[[object], str], setup: Callable[[], object] = objects
    ) -> None:
        self.make = make
        self.run = run
        self.setup = setup

    def attempt(self, name: str, seed: int, number: int) -> str:
        """The outcome of an input: a word, or the class of the error."""
        made = self.make(random.Random(f"{name} {seed} {number}"))
        try:
            return self.run(made)
        except OsmiaError as error:
            str(error)
            return type(error).__name__


KINDS: dict[str, Kind] = {
    "verified": Kind(program, run_verify, _prepare),  # type: ignore[arg-type]
    "interpreted": Kind(object_of, run_target, linked),  # type: ignore[arg-type]
    "native": Kind(object_of, run_native, linked),  # type: ignore[arg-type]
    "elf": Kind(elf, run_elf),  # type: ignore[arg-type]
    "btf": Kind(types, run_types),  # type: ignore[arg-type]
    "captures": Kind(capture, run_capture, captures),  # type: ignore[arg-type]
    "recordings": Kind(damaged, run_recording, recording),  # type: ignore[arg-type]
    "replays": Kind(nonsense, run_replay, _entries),  # type: ignore[arg-type]
    "policies": Kind(policy, run_policy, _judged),  # type: ignore[arg-type]
}
__all__ = ["KINDS", "Kind", "mutate", "pack"]
