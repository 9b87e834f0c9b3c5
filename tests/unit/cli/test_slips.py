"""What people type by mistake, and the hint that they get."""

from __future__ import annotations

import pytest

from osmia.cli import main


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["-e", "begin {}"], "the command comes first: osmia trace -e 'SCRIPT'"),
        (["--execute=begin {}"], "the command comes first: osmia trace -e 'SCRIPT'"),
        (["-l", "kprobe:*"], "the command comes first: osmia list"),
        (["no.bt", "5"], "to run it: osmia trace no.bt"),
        (["/bin/sh"], "to run it: osmia trace /bin/sh"),
        (["-x"], "see osmia --help"),
        (["lst"], "did you mean list?"),
    ],
)
def test_no_command(words, hint, capfd):
    assert main(words) == 2
    assert capfd.readouterr().err.endswith(f"hint: {hint}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--duration", "1s"], "read option --duration: '1s' is no number of seconds\nhint: give a number such as 1"),
        (["-d", "1"], "read option --debug: no stage '1'\nhint: one of ast, types, "),
        (["-c", ""], "read option --cmd: it is empty"),
        (["-p", ""], "read option --pid: '' is not a process number"),
    ],
)
def test_values(words, message, capfd):
    assert main(["trace", "--no-cache", *words, "-e", "begin {}"]) == 2
    assert message in capfd.readouterr().err


@pytest.mark.parametrize(
    "script",  # as a shell hands on "... $1 ..."
    [
        'begin { printf("%s", str()); }',
        "begin /pid == / { exit(); }",
        "begin { @[] = count(); }",
        "begin {  = 3; }",
        "begin { @ = hist( / 1000); }",
    ],
)
def test_what_the_shell_took(script, capfd):
    for words in (["-e", script], [f"--execute={script}"]):
        assert main(["trace", "--no-cache", *words]) == 1
        assert "if the script stands in double quotes, the shell took" in capfd.readouterr().err


@pytest.mark.parametrize("script", ["begin { @[] = $1; }", "begin { print(1; }", "begin { print(nosuch); }"])
def test_what_no_shell_took(script, capfd):
    assert main(["trace", "--no-cache", "-e", script]) == 1
    assert "double quotes" not in capfd.readouterr().err
