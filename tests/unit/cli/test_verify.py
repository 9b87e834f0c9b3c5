"""`osmia verify`: what one file lacks is no reason to be silent about the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osmia.cli import main

GOOD, BAD = "b700000000000000 9500000000000000", "9500000000000000"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.hex").write_text(GOOD)
    (tmp_path / "noise.o").write_bytes(b"\x01\x02 no ELF")
    (tmp_path / "bad.hex").write_text(BAD)
    return ["missing.o", "good.hex", "noise.o", "bad.hex"]


WHY = ["open missing.o: no such file or directory", "read noise.o: not an ELF file"]


def test_text(files: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-k", "6.1", *files]) == 2
    out, err = capfd.readouterr()
    assert "good.hex: good.hex, kernel 6.1: would load" in out
    assert "bad.hex: bad.hex, kernel 6.1: would not load" in out
    assert err.splitlines() == [f"osmia: {text}" for text in WHY]


def test_kernels_that_were_not_asked_are_not_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-k", "5.4..5.6,6.1", "-x", GOOD]) == 0
    assert "kernel 5.4 to 5.6, 6.1: would load" in capfd.readouterr().out


def test_json(files: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-k", "6.1", "-o", "json", *files]) == 2
    answer = json.loads(capfd.readouterr().out)
    assert [(a["file"], a["accepted"], a.get("error")) for a in answer] == [
        ("good.hex", True, None),
        ("bad.hex", False, None),
        ("missing.o", False, WHY[0]),
        ("noise.o", False, WHY[1]),
    ]


def test_sarif(files: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-k", "6.1", "-o", "sarif", *files]) == 2
    run = json.loads(capfd.readouterr().out)["runs"][0]
    assert [r["ruleId"] for r in run["results"]] == ["verifier"]
    invocation = run["invocations"][0]
    assert invocation["executionSuccessful"] is False
    assert [n["message"]["text"] for n in invocation["toolExecutionNotifications"]] == WHY


def test_sarif_has_one_result_for_what_many_kernels_say(files: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-k", "5.4..5.6,6.1", "-o", "sarif", "bad.hex"]) == 1
    (result,) = json.loads(capfd.readouterr().out)["runs"][0]["results"]
    assert result["message"]["text"].startswith("bad.hex on kernels 5.4 to 5.6, 6.1: R0 !read_ok. a value is read ")


def test_sarif_names_files_from_the_current_directory_on(
    files: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "bad.hex").write_text(BAD)
    outside = tmp_path.parent / "outside.hex"
    outside.write_text(BAD)
    paths = [str(tmp_path / "bad.hex"), "./a b/bad.hex", str(outside), str(tmp_path / "missing.o")]
    assert main(["verify", "-k", "6.1", "-o", "sarif", *paths]) == 2
    run = json.loads(capfd.readouterr().out)["runs"][0]
    said = [*run["results"], *run["invocations"][0]["toolExecutionNotifications"]]
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in said]
    assert uris == ["bad.hex", "a%20b/bad.hex", f"file://{outside}", "missing.o"]


def test_a_script_that_does_not_compile_is_one_that_would_not_load(
    files: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.bt").write_text("BEGIN { @ = ; }")
    assert main(["verify", "-k", "6.1", "good.hex", "wrong.bt"]) == 1
    out, err = capfd.readouterr()
    assert "good.hex: good.hex, kernel 6.1: would load" in out
    assert "wrong.bt:1:13" in err


def test_all_is_well(files: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-k", "6.1", "-o", "sarif", "good.hex"]) == 0
    run = json.loads(capfd.readouterr().out)["runs"][0]
    assert run["results"] == []
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


@pytest.mark.parametrize("text", ["99.1", "6.19", "5.4..7.0"])
def test_a_kernel_that_is_not_known(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-k", text, "-x", GOOD]) == 2
    named = text.rpartition("..")[2]
    said = f"osmia: choose kernel {named}: profiles end at 6.18\nhint: name one from 4.14 to 6.18\n"
    assert capfd.readouterr().err == said


@pytest.mark.parametrize("words", [["-k", "5.10,6.1..6.2, 6.18"], ["-k", "5.10", "-k", "6.1,6.2,6.18,6.1"]])
def test_several_kernels(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-o", "json", *words, "-x", GOOD]) == 0
    assert [a["kernel"] for a in json.loads(capfd.readouterr().out)] == ["5.10", "6.1", "6.2", "6.18"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--type", "xpd", "-x", GOOD], "verify --hex: there is no program type 'xpd'\nhint: did you mean xdp?"),
        (["--btf", "noise.o", "good.hex"], "read types from noise.o: "),
        (["--strict", "missing.toml", "good.hex"], "open missing.toml: no such file or directory"),
        (["--strict", "noise.o", "good.hex"], "read policy noise.o: not TOML: "),
        (
            ["prog.c"],
            "verify prog.c: that is source, no object file\nhint: clang -O2 -g -target bpf -c prog.c -o prog.o first",
        ),
    ],
)
def test_what_is_given_wrongly(
    files: list[str], words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "-k", "6.1", *words]) == 2
    assert capfd.readouterr().err.startswith(f"osmia: {said}")
