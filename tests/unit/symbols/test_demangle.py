"""Mangled names."""

from __future__ import annotations

import builtins
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.symbols import demangle

CPP = [
    "_ZN5MyApp6Server14handle_requestEi",
    "_Znwm",
    "_ZNSt6vectorIiSaIiEE9push_backEOi",
    "_ZNK3foo3barEv",
    "_ZNVK3foo3barEi",
]
CPP += ["_ZNKR3foo3barEv", "_ZNK3foo3barIiEEiv", "_ZNO3foo3barEi", "_Z3addIiET_S0_"]


def test_cpp() -> None:
    pytest.importorskip("itanium_demangler")
    assert demangle("_ZN5MyApp6Server14handle_requestEi") == "MyApp::Server::handle_request(int)"
    assert demangle("_Znwm") == "operator new(unsigned long)"
    assert demangle("_ZN3foo3barEv.cold") == "foo::bar() [clone .cold]"


def test_cpp_equals_cxxfilt() -> None:
    pytest.importorskip("itanium_demangler")
    if not shutil.which("c++filt"):
        pytest.skip("c++filt is not installed")
    out = subprocess.run(["c++filt", *CPP], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [demangle(name).replace(" ", "") for name in CPP] == [line.replace(" ", "") for line in out]


def test_rust() -> None:
    pytest.importorskip("rust_demangler")
    assert demangle("_ZN4core3fmt9Formatter3pad17h1234567890abcdefE") == "core::fmt::Formatter::pad"
    assert demangle("_RNvCskwGfYPst2Cb_3foo16example_function") == "foo::example_function"


def test_plain_and_broken_names_stay() -> None:
    for name in ("main", "", "_start", "_Zbogus", "_R", "_RNv", "_Z", "_ZN", "__libc_start_main", "_R" + "N" * 5000):
        assert demangle(name) == name


def test_without_the_optional_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object, **kwargs: object) -> object:
        if name in ("itanium_demangler", "rust_demangler"):
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    for module in ("itanium_demangler", "rust_demangler"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert demangle("_ZN4only4hereEv") == "_ZN4only4hereEv"
    assert demangle("_RNvCskwGfYPst2Cb_3foo7another") == "_RNvCskwGfYPst2Cb_3foo7another"
    from osmia.symbols import _demangle

    _demangle._cache.clear()


@given(st.text(alphabet="_ZNRSaItEvi0123456789.hCsKkPlT", max_size=40))
def test_any_name(text: str) -> None:
    for prefix in ("_Z", "_R", "_ZN"):
        assert isinstance(demangle(prefix + text), str)
