from __future__ import annotations

import os
import subprocess
import sys

import pytest

import osmia
from osmia import __version__
from osmia.cli import COMMANDS, main

RUN = [sys.executable, "-m", "osmia"]


def call(*words, capfd):
    status = main(list(words))
    out, err = capfd.readouterr()
    return status, out, err


def test_version_and_help(capfd):
    assert call("version", capfd=capfd) == (0, f"osmia {__version__}\n", "")
    assert call("--version", capfd=capfd)[1] == f"osmia {__version__}\n"
    status, out, _ = call("--help", capfd=capfd)
    assert status == 0
    assert all(name in out for name in COMMANDS)


def test_no_command_is_a_usage_error(capfd):
    status, out, err = call(capfd=capfd)
    assert (status, out) == (2, "") and "usage:" in err


def test_wrong_command_and_option(capfd):
    status, _, err = call("trcae", capfd=capfd)
    assert status == 2 and "did you mean trace?" in err
    status, _, err = call("trace", "--ouput", "json", capfd=capfd)
    assert status == 2 and "did you mean --output?" in err
    status, _, err = call("trace", capfd=capfd)
    assert status == 2 and "needs a script" in err


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("version",)])
def test_every_command_has_help(command, capfd):
    status, out, err = call(command, "--help", capfd=capfd)
    assert status == 0 and command in out and not err


def test_errors_of_the_drop_in_face(capfd):
    for words, message in (
        (["-f", "jsonx", "-e", "begin {}"], 'ERROR: Invalid output format "jsonx"'),
        (["nothing.bt"], "ERROR: failed to open file 'nothing.bt': No such file or directory"),
        (["-p", "a1", "-e", "begin {}"], "ERROR: Failed to parse pid: invalid integer: a1"),
        (["-p", "1a1", "-e", "begin {}"], "ERROR: Failed to parse pid: invalid trailing bytes: 1a1"),
        (["-p", "5000000", "-e", "begin {}"], "ERROR: Pid out of range: 5000000"),
        (["-zdonotexist"], "USAGE:"),
        (["-c", "true", "-p", "1", "-e", "begin {}"], "Cannot use both -c and -p"),
    ):
        status, _, err = call("bpftrace", *words, capfd=capfd)
        assert status == 1 and message in err


def test_source_errors_are_shown_as_they_are(capfd):
    status, _, err = call("trace", "--no-cache", "-e", "begin { exit(; }", capfd=capfd)
    assert status == 1
    assert err.startswith("stdin:1:") and "ERROR" in err and "~" in err


def test_a_missing_probe_is_one_error_but_for_the_drop_in_face(capfd):
    words = ["--no-cache", "-e", "uprobe:/bin/sh:no_such_function { @ = count(); }"]
    status, _, err = call("trace", *words, capfd=capfd)
    assert status == 1 and err.count("ERROR") == 1 and "No matches for uprobe" in err
    status, _, err = call("bpftrace", *words, capfd=capfd)
    assert status == 1 and err.count("ERROR") == 2 and "ERROR: Probe has no valid attach points.\n" in err


def test_internal_errors_show_no_traceback(capfd, monkeypatch):
    import osmia.cli

    def broken(words):
        raise RuntimeError("oops")

    monkeypatch.setattr(osmia.cli, "dispatch", broken)
    status, _, err = call("trace", capfd=capfd)
    assert status == 1 and "internal error: RuntimeError: oops" in err and "Traceback" not in err
    monkeypatch.setenv("OSMIA_DEBUG", "1")
    assert "Traceback" in call("trace", capfd=capfd)[2]


def test_help_imports_little():
    code = (
        "import sys; from osmia.cli import main; main(['--help']);"
        "bad = [m for m in ('ctypes', 'enum', 're', 'json', 'argparse', 'typing', 'llvmlite', 'dataclasses')"
        " if m in sys.modules]; sys.exit(' '.join(bad) or 0)"
    )
    # Without site-packages, whose .pth files import much; so the path says where osmia is.
    place = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(osmia.__file__))}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=place
    )
    assert done.returncode == 0, done.stderr


def test_import_osmia_imports_little():
    code = (
        "import sys; before = set(sys.modules); import osmia;"
        "sys.exit(' '.join(sorted(set(sys.modules) - before - {'osmia', 'osmia._version', '__future__'})) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def test_closed_output_ends_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*RUN, "list", "software:*"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell, capfd):
    status, out, _ = call("completions", shell, capfd=capfd)
    assert status == 0
    for word in (*COMMANDS, "verbose", "output"):
        assert word in out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=out, text=True).returncode == 0
    status, _, err = call("completions", "tcsh", capfd=capfd)
    assert status == 2 and "bash, zsh, fish" in err


def test_headers_that_are_not_there_are_named_as_clang_names_them(capfd):
    status, _, err = call("bpftrace", "-e", "#include <lol/no.h>\nbegin { }", capfd=capfd)
    assert status == 1
    assert err.startswith("definitions.h:2:10: fatal error: 'lol/no.h' file not found\nstdin:1:10-")


def test_aot_writes_a_program_that_hands_its_options_on(tmp_path, capfd, monkeypatch):
    from osmia import _api

    compiled = []
    monkeypatch.setattr(_api, "compile", lambda script, **options: compiled.append((script, options)))
    path = tmp_path / "prog"
    script = 'begin { print("it\'s"); }'
    assert call("bpftrace", "--unsafe", "-f", "json", "-e", script, "--aot", str(path), capfd=capfd)[0] == 0
    assert compiled == [(script, {"name": "stdin", "unsafe": True})]
    assert os.access(path, os.X_OK)
    words: list[str] = []
    monkeypatch.setattr("osmia.cli.main", lambda given: words.extend(given) or 0)
    monkeypatch.setattr(sys, "argv", [str(path), "--", "--aa=20"])
    with pytest.raises(SystemExit) as e:
        exec(compile(path.read_text(), str(path), "exec"), {})
    assert e.value.code == 0
    assert words == ["bpftrace", "--format", "json", "--unsafe", "-e", script, "--", "--aa=20"]


def test_stage_types_shows_the_type_of_each_expression(capfd):
    from osmia.cli._engine import RunOptions
    from osmia.cli._stages import show_stages
    from osmia.cli._trace import Script

    show_stages(["types"], Script("stdin", "begin { $x = 1; @a[$x] = count(); }"), RunOptions())
    err = capfd.readouterr()[1]
    assert "$x :: " in err and "@a[$x] :: count_t" in err


def test_formatting_a_script(capfd):
    assert call("bpftrace", "--fmt", "-e", "begin{print(1);exit()}", capfd=capfd)[:2] == (
        0,
        "begin {\n  print(1);\n  exit()\n}\n",
    )
