"""Every trap of LLVM's BPF back end: our check refuses it, and LLVM would really have ended the process."""

from __future__ import annotations

import os

import pytest
from unit.codegen.traps import FINE, TRAPS, UNSURE, function

from osmia.codegen import STACK_LIMIT, Module, _llvm, check_text, compile_guarded, compile_module
from osmia.errors import CodegenError


def dies(ir: str, cpu: str, optimize: str = "none") -> bool:
    """Whether compiling ends the process, tried in a child."""
    _llvm._library()
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            _llvm.emit(ir, cpu=cpu, optimize=optimize)
            code = 0
        except CodegenError:
            code = 2  # an exception is no death
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) in (0, 1), "the IR itself is wrong"
    return status != 0


@pytest.mark.parametrize("name", TRAPS)
def test_refused(name: str) -> None:
    ir, cpu = TRAPS[name]
    with pytest.raises(CodegenError) as caught:
        check_text(ir, cpu)
    if name not in ("module assembly", "thread local"):
        assert caught.value.function == "victim"
        assert "victim" in caught.value.message


@pytest.mark.parametrize("name", [name for name in TRAPS if name != "module assembly"])
def test_llvm_dies(name: str) -> None:
    ir, cpu = TRAPS[name]
    assert dies(ir, cpu)
    with pytest.raises(CodegenError):  # and the guard makes an error of it
        compile_guarded(ir, cpu=cpu, optimize="none")


@pytest.mark.parametrize("name", UNSURE)
def test_stack_overflow_is_found_by_the_guard(name: str) -> None:
    ir, cpu = UNSURE[name]
    check_text(ir, cpu)
    assert dies(ir, cpu)
    with pytest.raises(CodegenError, match="512 bytes of stack") as caught:
        compile_guarded(ir, cpu=cpu)
    assert caught.value.function == "victim"
    assert caught.value.hint


@pytest.mark.parametrize("name", FINE)
def test_not_refused(name: str) -> None:
    ir, cpu = FINE[name]
    assert check_text(ir, cpu) <= STACK_LIMIT
    assert not dies(ir, cpu)
    assert not dies(ir, cpu, "short")
    assert compile_guarded(ir, cpu=cpu)[:4] == b"\x7fELF"


def test_blocks_that_may_not_expand_are_left_to_the_guard() -> None:
    ir = function("call void @llvm.memset.p0.i64(ptr align 8 %a0, i8 0, i64 1024, i1 false)\nret i64 0")
    assert check_text(ir) > STACK_LIMIT
    assert not dies(ir, "v3")


def test_the_first_block_has_any_name() -> None:
    body = function("%s = alloca i64\nstore volatile i64 1, ptr %s\nret i64 0")
    for entry in ("", "start:\n", '"a b":\n', "entry:    ; a comment\n"):
        ir = body.replace("entry:\n", entry)
        check_text(ir)
        assert not dies(ir, "v3")


def test_a_function_that_spills_is_an_error_of_its_own() -> None:
    module = Module("f.bt")
    f = module.function("victim", "p/x")
    f.at(7, 3)
    values = [f.load("%a0", volatile=True) for _ in range(90)]
    for i, value in enumerate(values):
        f.store(value, f.gep("%a0", 8 * i))
    f.ret()
    with pytest.raises(CodegenError, match="512 bytes of stack"):
        compile_module(module)


def test_compiling_when_sigchld_is_ignored() -> None:
    import signal

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        ir, cpu = FINE["five arguments"]
        assert compile_guarded(ir, cpu=cpu)[:4] == b"\x7fELF"
        with pytest.raises(CodegenError, match="signed division"):
            compile_guarded(*TRAPS["sdiv"][:1], cpu="v3")
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_compilation_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from osmia.codegen import _driver

    monkeypatch.setattr(_driver, "PATIENCE_S", 1)
    stores = "\n".join(f"store volatile i64 {i}, ptr %a0" for i in range(40_000))
    with pytest.raises(CodegenError, match="not done after 1 s") as caught:
        compile_guarded(function(stores + "\nret i64 0"))
    assert caught.value.hint
