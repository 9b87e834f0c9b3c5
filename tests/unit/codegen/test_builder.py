# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""The builder: what it folds, reuses and refuses, and that LLVM reads what it writes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.codegen import Module, _llvm, compile_module
from osmia.codegen._builder import Function
from osmia.errors import CodegenError

MIN, MAX = -(2**63), 2**63 - 1
WORDS = st.one_of(st.integers(MIN, MAX), st.sampled_from([0, 1, -1, 2, -2, 7, -7, MIN, MIN + 1, MAX, MAX - 1]))


def function(cpu: str = "v3") -> tuple[Module, Function]:
    module = Module("f.bt", cpu)
    return module, module.function("f", "p/f")


def wrap(value: int, bits: int = 64, signed: bool = True) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def evaluated(module: Module, count: int) -> list[int]:
    """What LLVM computes for the stores of constants into `%a0`, in order."""
    ir = _llvm.emit(module.text(), cpu=module.cpu, print_ir=True).decode()
    found = [line.split("store i64 ")[1].split(",")[0] for line in ir.split("\n") if "store i64 " in line]
    assert len(found) == count, ir
    return [int(text) for text in found]


def hidden(module: Module, f: Function, value: int) -> str:
    """A constant that only LLVM sees through, not the builder's own folding."""
    return f.value(f"add i64 0, {value}")


def divide(a: int, b: int) -> tuple[int, int]:
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return wrap(quotient), wrap(a - quotient * b)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=20))
def test_signed_division_without_an_instruction_for_it(pairs: list[tuple[int, int]]) -> None:
    module, f = function()
    expected = []
    at = 0
    for a, b in pairs:
        if b == 0:
            continue
        for remainder in (False, True):
            value = f.sdiv(hidden(module, f, a), hidden(module, f, b), remainder=remainder)
            f.store(value, f.gep("%a0", at))
            at += 8
        expected += divide(a, b)
    f.ret()
    assert evaluated(module, len(expected)) == expected


@given(WORDS, WORDS, st.sampled_from(["add", "sub", "mul", "and", "or", "xor"]))
def test_folding(a: int, b: int, op: str) -> None:
    _, f = function()
    before = f.values
    result = f.op(op, str(a), str(b))
    wanted = {"add": a + b, "sub": a - b, "mul": a * b, "and": a & b, "or": a | b, "xor": a ^ b}[op]
    assert int(result) == wrap(wanted)
    assert f.values == before  # nothing was emitted


@given(WORDS, st.sampled_from([1, 2, 4, 8]), st.booleans())
def test_folding_of_truncation(value: int, size: int, signed: bool) -> None:
    _, f = function()
    assert int(f.truncate(str(value), size, signed)) == (wrap(value, 8 * size, signed) if size < 8 else value)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_memory_of_all_sizes(size: int, signed: bool) -> None:
    module, f = function()
    slot = f.alloca(8)
    for i, value in enumerate((0, 1, -1, 0x8182_8384_8586_8788 - (1 << 64), MAX, MIN)):
        f.store(hidden(module, f, value), slot, size)
        f.store(f.load(slot, size, signed), f.gep("%a0", 16 * i))
        f.store(str(value), slot, size)
        f.store(f.load(slot, size, signed), f.gep("%a0", 16 * i + 8))
    f.ret()
    got = evaluated(module, 12)
    for i, value in enumerate((0, 1, -1, 0x8182_8384_8586_8788 - (1 << 64), MAX, MIN)):
        assert got[2 * i] == got[2 * i + 1] == wrap(wrap(value, 8 * size, signed))


@pytest.mark.parametrize("size", [*range(20), 31, 64, 100, 128])
@pytest.mark.parametrize("align", [1, 2, 4, 8])
def test_fill_and_copy(size: int, align: int) -> None:
    module, f = function()
    slot = f.alloca(128)
    f.fill_zero(slot, size, align)
    f.copy("%a0", slot, size, align)
    f.ret()
    assert compile_module(module).functions["f"].insns


@pytest.mark.parametrize("size", [2, 4, 8])
def test_byte_swap(size: int) -> None:
    module, f = function()
    f.store(f.byte_swap(hidden(module, f, 0x0102_0304_0506_0708), size), "%a0")
    f.ret()
    wanted = int.from_bytes((0x0102_0304_0506_0708).to_bytes(8, "little")[:size], "big")
    assert evaluated(module, 1) == [wanted]


def test_stack_is_handed_on() -> None:
    _, f = function()
    kept = f.alloca(8)
    mark = f.mark()
    first = {f.alloca(8), f.alloca(8), f.alloca(16)}
    assert f.stack == 40
    f.release(mark)
    second = {f.alloca(8), f.alloca(16), f.alloca(8)}
    assert first == second
    assert kept not in second
    inner = f.mark()
    third = f.alloca(8)
    assert third not in second | {kept}
    f.release(inner)
    f.release(inner)  # again: nothing is given away twice
    assert f.alloca(8) == third
    assert f.alloca(8) not in {kept, third} | second


def test_nothing_is_written_after_a_block_has_ended() -> None:
    module, f = function()
    f.ret("1")
    assert f.ended
    f.store("5", "%a0")
    f.ret("2")
    f.br("nowhere")
    f.cond_br("true", "nowhere", "here")
    dead = f.load("%a0")
    assert f.op("add", dead, "1")
    next_block = f.label("next")
    f.start(next_block)
    assert not f.ended
    f.ret("3")
    text = module.text()
    assert "nowhere" not in text
    assert "i64 2" not in text
    assert text.count("ret i64") == 2


def test_a_block_falls_through_and_the_last_one_returns() -> None:
    module, f = function()
    a, b = f.label("a"), f.label("a")
    assert a != b
    f.start(a)
    f.start(b)
    f.store("1", "%a0")
    assert compile_module(module).functions["f"].insns


@pytest.mark.parametrize(
    "name",
    ["plain", "with space", 'quo"te', "back\\slash", "new\nline", "1digit", "ümlaut", "a.b_c", "%x", ";", "", "sdiv"],
)
def test_any_name_and_file(name: str) -> None:
    module = Module(name)
    f = module.function("f" + name, "p/f")
    f.helper(1, f"ptr {module.map('m' + name)}", f"ptr {f.alloca(8)}")
    f.ret()
    compiled = compile_module(module)
    assert [r.symbol for r in compiled.functions["f" + name].relocations if r.kind == "map"] == ["m" + name]


def test_names_that_begin_with_a_digit() -> None:
    module = Module()
    f = module.function("2nd", "p/f")
    f.load(module.variable("1st", 8, ".data.x"), volatile=True)
    assert "2nd" in compile_module(module).functions


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=12))
def test_constants_keep_every_byte(texts: list[bytes]) -> None:
    """Of all kinds: LLVM puts texts and constants of 8, 16, 32 bytes into sections of their own."""
    module, f = function()
    at = 0
    for data in [*texts, b"text\0", b"12345678", b"x" * 16, b"y" * 32]:
        for offset in range(len(data)):
            f.store(f.load(f.gep(module.constant(data), offset), 1, volatile=True), f.gep("%a0", at), 1)
            at += 1
    f.ret()
    compiled = compile_module(module)
    blocks = [(r.addend if hasattr(r, "addend") else r.offset) for r in compiled.functions["f"].relocations]
    for data in texts:
        assert data in compiled.rodata
    assert all(0 <= offset < len(compiled.rodata) for offset in blocks)


def test_six_arguments_are_refused_with_their_place() -> None:
    module, f = function()
    f.at(12, 5)
    for call in (lambda: f.helper(6, *"123456"), lambda: f.call("g", *"123456")):
        with pytest.raises(CodegenError, match="5 at most") as caught:
            call()
        assert (caught.value.function, caught.value.line, caught.value.col) == ("f", 12, 5)
    with pytest.raises(CodegenError, match="5 at most"):
        module.function("g", "", 6)


def test_line_info_carries_source_text() -> None:
    module, f = function()
    f.at(2, 7)
    f.store("1", "%a0")
    f.at(3, 1)
    f.ret()
    lines = compile_module(module, source={"f.bt": ["one", "two", "three"]}).functions["f"].lines
    assert {(line.line, line.text) for line in lines} >= {(2, "two"), (3, "three")}


def test_symbols_become_relocations() -> None:
    module, f = function()
    module.kfunc("bpf_task_release", "void (ptr)")
    inner = module.function("inner", "", 2, internal=True)
    inner.ret("7")
    f.helper(181, "5", "ptr @inner", "ptr null", "0")
    f.call("bpf_task_release", "ptr %a0", returns="void")
    f.load(module.kernel_symbol("jiffies"), volatile=True)
    f.load(module.variable("v", 16, ".data.v"), volatile=True)
    f.load(module.constant(b"abc\0defg"), volatile=True)
    f.ret()
    compiled = compile_module(module)
    found = {(r.kind, r.symbol) for r in compiled.functions["f"].relocations}
    assert found == {
        ("func", "inner"), ("kfunc", "bpf_task_release"), ("ksym", "jiffies"), ("map_value", ".data.v"), ("map_value", ".rodata"),
    }  # fmt: skip
    assert not compiled.functions["inner"].is_global
