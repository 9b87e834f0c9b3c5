# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""No text kills the process: mutated IR gives an object or a CodegenError."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.codegen.traps import FINE, TRAPS, UNSURE

from osmia.codegen import check_text, compile_guarded
from osmia.codegen._object import split
from osmia.errors import CodegenError

CORPUS = [ir for table in (TRAPS, FINE, UNSURE) for ir, _ in table.values()]
PIECES = (
    "i64", "i128", "i8", "double", "ptr", "sdiv", "call", "alloca", "(", ")", "{", "}", ",", "%x", "%a0", "@g", "!0", "align 8",
    '"', ";", "\n", "\0", "\xff", "entry:", "define i64 @f() {", "ret i64 0", "load", "store", "atomicrmw", "undef", "poison",
    "<4 x i64>", "[9 x i8]", "18446744073709551616", "-1", "asm", "metadata", "blockaddress", "switch", "br label %entry",
)  # fmt: skip


def mutate(rng: random.Random) -> str:
    text = rng.choice(CORPUS)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(text))
        to = min(len(text), at + rng.choice((0, 1, 3, 10, 40)))
        kind = rng.randrange(3)
        if kind == 0:
            text = text[:at] + rng.choice(PIECES) + text[to:]
        elif kind == 1:
            other = rng.choice(CORPUS)
            start = rng.randrange(len(other))
            text = text[:at] + other[start : start + 60] + text[to:]
        else:
            lines = text.split("\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
    return text


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
@example(295)
def test_mutated_text(seed: int) -> None:
    ir = mutate(random.Random(seed))
    try:
        check_text(ir)
    except CodegenError as refused:
        assert refused.message
    try:
        data = compile_guarded(ir)
    except CodegenError as failed:
        assert failed.message
    else:
        try:
            split(data, {})
        except CodegenError as odd:
            assert odd.message


def _sample() -> bytes:
    from osmia.codegen import Module, compile_module

    module = Module("f.bt")
    f = module.function("f", "p/f")
    f.at(3, 4)
    found = f.helper(1, f"ptr {module.map('m')}", f"ptr {f.alloca(8)}", returns="ptr")
    f.store(f.load(module.constant(b"abcdefgh")), module.variable("v", 8, ".data.v"))
    f.ret(f.to_int(found))
    return compile_module(module, source={"f.bt": ["a", "b", "c"]}).elf


SAMPLE = _sample()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_objects(data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE)
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        split(bytes(damaged), {"f.bt": ["x"]})
    except CodegenError as error:
        assert error.message


@given(st.binary(max_size=200))
def test_garbage_is_no_object(garbage: bytes) -> None:
    for data in (garbage, SAMPLE[:64] + garbage, b"\x7fELF\x02\x01" + garbage):
        try:
            split(data, {})
        except CodegenError as error:
            assert error.message
