"""What the library says of arguments that it cannot take; no privilege is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import osmia
from osmia.errors import ElfError, PermissionDenied, SourceError, UsageError
from osmia.lang.bpftrace._check_state import Environment
from osmia.lang.bpftrace.check import check
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.expand import expand
from osmia.lang.bpftrace.parser import parse


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSMIA_CACHE_DIR", str(tmp_path / "cache"))


SCRIPT = "begin { }"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: osmia.trace(SCRIPT, name=5), "name script 5: that is int (give a str)"),  # type: ignore[arg-type]
        (
            lambda: osmia.trace(SCRIPT, cmd=5),  # type: ignore[arg-type]
            'start command 5: that is int (give a list: ["ls", "-l"])',
        ),
        (
            lambda: osmia.trace(SCRIPT, cmd=["ls", 5]),  # type: ignore[list-item]
            "start command ['ls', 5]: 5 is int (each word is a str)",
        ),
        (
            lambda: osmia.trace(SCRIPT, cmd=b"ls"),  # type: ignore[arg-type]
            'start command b\'ls\': that is bytes (give a list: ["ls", "-l"])',
        ),
        (
            lambda: osmia.trace(SCRIPT, options="x"),  # type: ignore[arg-type]
            'compile script: options is str (give a dict: options={"n": 5})',
        ),
        (
            lambda: osmia.trace(SCRIPT, options={5: "x"}),  # type: ignore[dict-item]
            "compile script: an option is called 5 (names of options are str)",
        ),
        (
            lambda: osmia.trace(SCRIPT, on_event=5),  # type: ignore[arg-type]
            "hand events to 5: that is no function (give one that takes an event)",
        ),
        (
            lambda: osmia.compile(SCRIPT, params=5),  # type: ignore[arg-type]
            'compile script: params is int (give a list: params=["7", "x"])',
        ),
        (
            lambda: osmia.compile(b"begin { }"),  # type: ignore[arg-type]
            "compile script: bytes is no script (give its text, a pathlib.Path, or an Object)",
        ),
        (
            lambda: osmia.load(None),  # type: ignore[arg-type]
            "load object: NoneType is no object (give an Object, or the path of a file)",
        ),
    ],
)
def test_arguments_of_other_types(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == message


def test_the_name_of_a_file_given_as_text(tmp_path: Path) -> None:
    path = tmp_path / "five"
    path.write_text(SCRIPT)
    for name in (str(path), "no/such/file.bt"):
        with pytest.raises(SourceError) as caught:
            osmia.compile(name)
        assert caught.value.hint == f"a str is the text of a script: for the file, give pathlib.Path({name!r})"
    with pytest.raises(SourceError) as caught:
        osmia.compile("begin { honey }")
    assert not caught.value.hint


def test_a_file_that_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "a1.py"
    path.write_text("import osmia\n")
    with pytest.raises(ElfError) as caught:
        osmia.load(path)
    assert str(caught.value).startswith(f"read {path}: not an ELF file (give a BPF object file")


class Refusing:
    """A catalogue that may not look."""

    btf = None

    def match(self, spec: object) -> list[Any]:
        raise PermissionDenied("open events: denied", capability="CAP_DAC_READ_SEARCH", errno=13, hint="use sudo")


def test_a_privilege_that_is_missing_to_find_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(script: str, **_more: object) -> None:
        sources = [Source("stdin", script)]
        tree = parse(sources[0])
        expand(tree, sources)
        check(tree, Environment(sources, None, None, Refusing()))

    with pytest.raises(SourceError, match="open events: denied"):
        refused("tracepoint:a:b { }")
    monkeypatch.setattr("osmia._cached.compile_cached", refused)
    with pytest.raises(PermissionDenied) as caught:
        osmia.trace("tracepoint:a:b { }")
    assert (caught.value.capability, caught.value.errno, caught.value.hint) == ("CAP_DAC_READ_SEARCH", 13, "use sudo")
