"""Operand texts of USDT arguments, x86-64 and arm64."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.elf import UsdtArg, parse_usdt_args
from osmia.errors import ElfError

ARM64 = 183


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("-4@%edi", UsdtArg(4, True, "reg", register="rdi")),
        ("8@-8(%rbp)", UsdtArg(8, False, "mem", register="rbp", offset=-8)),
        ("4@$5", UsdtArg(4, False, "const", value=5)),
        ("-4@$-9", UsdtArg(4, True, "const", value=-9)),
        ("4@$-9", UsdtArg(4, False, "const", value=0xFFFFFFF7)),
        ("-1@$240", UsdtArg(1, True, "const", value=-16)),
        ("8@$0x10", UsdtArg(8, False, "const", value=16)),
        ("8@foo(%rip)", UsdtArg(8, False, "mem", register="rip", symbol="foo")),
        ("8@foo+16(%rip)", UsdtArg(8, False, "mem", register="rip", symbol="foo", offset=16)),
        ("8@16+foo(%rip)", UsdtArg(8, False, "mem", register="rip", symbol="foo", offset=16)),
        ("8@foo-4(%rip)", UsdtArg(8, False, "mem", register="rip", symbol="foo", offset=-4)),
        ("-1@%al", UsdtArg(1, True, "reg", register="rax")),
        ("1@%ah", UsdtArg(1, False, "reg", register="rax", shift=8)),
        ("2@%r10w", UsdtArg(2, False, "reg", register="r10")),
        ("8@(%rax,%rbx,8)", UsdtArg(8, False, "mem", register="rax", index="rbx", scale=8)),
        ("4@-12(%rax,%rcx)", UsdtArg(4, False, "mem", register="rax", index="rcx", offset=-12)),
        ("8@table(,%rdx,4)", UsdtArg(8, False, "mem", index="rdx", scale=4, symbol="table")),
        ("8f@%xmm0", UsdtArg(8, False, "reg", register="xmm0", is_float=True)),
    ],
)
def test_x86(text: str, want: UsdtArg) -> None:
    assert parse_usdt_args(text) == (want,)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("8@x0", UsdtArg(8, False, "reg", register="x0")),
        ("-4@w19", UsdtArg(4, True, "reg", register="x19")),
        ("-4@[sp, 12]", UsdtArg(4, True, "mem", register="sp", offset=12)),
        ("-4@[x29, #-20]", UsdtArg(4, True, "mem", register="x29", offset=-20)),
        ("8@[x1]", UsdtArg(8, False, "mem", register="x1")),
        ("8@[x1, x2, lsl 3]", UsdtArg(8, False, "mem", register="x1", index="x2", scale=8)),
        ("-4@7", UsdtArg(4, True, "const", value=7)),
    ],
)
def test_arm64(text: str, want: UsdtArg) -> None:
    assert parse_usdt_args(text, ARM64) == (want,)


def test_several_arguments_in_order() -> None:
    got = parse_usdt_args("-4@%edi 8@-8(%rbp)  4@$5 8@(%rax, %rbx, 8)")
    assert [a.kind for a in got] == ["reg", "mem", "const", "mem"]
    assert [a.kind for a in parse_usdt_args("-4@[sp, 12] 8@x0", ARM64)] == ["mem", "reg"]
    assert parse_usdt_args("") == ()


@pytest.mark.parametrize(
    "text",
    ["8@", "@%rax", "8%rax", "3@%rax", "8@%bogus", "8@(%rax", "8@(%rax,%rbx,3)", "8@()", "8@%fs:8", "8@$", "x@%rax",
     "8@foo@GOTPCREL(%rip)", "8@--8(%rax)", "8@$09"],
)  # fmt: skip
def test_what_is_not_understood_is_an_elf_error(text: str) -> None:
    with pytest.raises(ElfError, match="operand is not understood"):
        parse_usdt_args(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="-+0189@$%[]()#, fxwsplraxbdig:\x00é", max_size=24), st.sampled_from([62, ARM64, 3]))
def test_any_text_parses_or_raises_elf_error(text: str, machine: int) -> None:
    try:
        parse_usdt_args(text, machine)
    except ElfError:
        return
