"""Which kernel's types a verdict rests on: those that are given, else this machine's, for its own version."""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia.btf import Btf, BtfBuilder
from osmia.isa import ATTACH_TYPES, PROG_TYPES, assemble
from osmia.verifier import Program, profile, verify

FENTRY = ATTACH_TYPES["trace_fentry"]
READ = "r0 = *(u64 *)(r1 + 8)\nr0 = 0\nexit"
MEMBER = "r1 = *(u64 *)(r1 + 0)\nr0 = *(u64 *)(r1 + 4096)\nr0 = 0\nexit"


@pytest.fixture(scope="module")
def kernel() -> Btf:
    """A kernel with one function, `two(struct big *, long)`, whose struct is larger than any of that name here."""
    b = BtfBuilder()
    u64 = b.int("unsigned long", 8)
    big = b.struct("task_struct", 8192, [("far", u64, 8 * 4096)])
    proto = b.func_proto(u64, [("task", b.ptr(big)), ("n", u64)])
    b.func("two", proto)
    return Btf(b.build())


def program(text: str, to: str, kernel: Btf | None) -> Program:
    return Program(assemble(text), PROG_TYPES["tracing"], FENTRY, attach_to=to, kernel=kernel)


@pytest.mark.parametrize("version", ["5.5", "6.1", "6.18"])
def test_given_types_are_those_of_the_kernel_in_question(kernel: Btf, version: str) -> None:
    assert verify(program(READ, "two", kernel), profile(version)).accepted
    assert verify(program(MEMBER, "two", kernel), profile(version)).accepted
    beyond = verify(program(READ.replace("8)", "16)"), "two", kernel), profile(version))
    assert not beyond.accepted and "invalid bpf_context access" in beyond.message


def test_what_is_attached_to_has_to_be_there(kernel: Btf) -> None:
    verdict = verify(program("r0 = 0\nexit", "three", kernel))
    assert (verdict.accepted, verdict.errno) == (False, 3)
    assert verdict.message == "attach target three is not in the kernel's types"
    assert verdict.explanation and verdict.explanation.reason == "the kernel has no three to attach to"


@pytest.mark.parametrize("version", ["5.5", "6.1", "6.12"])
@pytest.mark.parametrize("text", ["r0 = 0\nexit", READ, MEMBER])
def test_without_types_that_are_given_this_machines_have_to_have_it(
    monkeypatch: pytest.MonkeyPatch, kernel: Btf, version: str, text: str
) -> None:
    monkeypatch.setattr("osmia.btf.load_kernel_btf", lambda: Btf(kernel.data))
    verdict = verify(program(text, "three", None), profile(version))
    assert (verdict.accepted, verdict.errno) == (False, 3)
    assert verdict.explanation
    assert verdict.explanation.reason == "the types of this machine's kernel have no three to attach to"
    assert verdict.explanation.remedy.startswith("--btf FILE takes those of another kernel; osmia list shows")
    assert verify(program("r0 = 0\nexit", "two", None), profile(version)).accepted


def test_what_a_module_has_is_there(monkeypatch: pytest.MonkeyPatch, kernel: Btf, tmp_path: Path) -> None:
    b = BtfBuilder()
    proto = b.func_proto(b.int("int", 4), [])
    b.func("of_module", proto)
    b.typedef("btf_trace_of_module_too", b.ptr(proto))
    module = b.build()
    for name in ("vmlinux", "bee"):
        (tmp_path / name).touch()
    monkeypatch.setattr("osmia.verifier._hooks.MODULE_TYPES", str(tmp_path))
    monkeypatch.setattr("osmia.btf.load_kernel_btf", lambda name=None: Btf(module if name == "bee" else kernel.data))
    for to in ("of_module", "bee:of_module"):
        assert verify(program(READ, to, None)).accepted
        assert not verify(program(READ, to, kernel)).accepted
    point = Program(assemble(READ), PROG_TYPES["tracing"], ATTACH_TYPES["trace_raw_tp"], attach_to="of_module_too")
    assert verify(point).accepted
    assert not verify(program(READ, "of_no_module", None)).accepted
