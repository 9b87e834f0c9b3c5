from __future__ import annotations

import pytest

from osmia.cli._options import Option, help_lines, parse
from osmia.errors import UsageError

OPTIONS = (
    Option(("-v", "--verbose"), "more"),
    Option(("-l", "--list"), "list"),
    Option(("-p", "--pid"), "process", "PID"),
    Option(("-f", "--format"), "format", "FORMAT", ("text", "json")),
    Option(("-I", "--include-dir"), "folders", "DIR", many=True),
    Option(("--dry-run",), "nothing"),
)


@pytest.mark.parametrize(
    "words",
    [
        ["-lv", "-p12", "file"],
        ["-l", "-v", "-p", "12", "file"],
        ["file", "--list", "--verbose", "--pid=12"],
        ["--pid", "12", "-vl", "--", "file"],
        ["-lvp12", "file"],
    ],
)
def test_spellings(words):
    args = parse(words, OPTIONS)
    assert (args.has("list"), args.has("verbose"), args.text("pid")) == (True, True, "12")
    assert args.arguments == ["file"]
    assert not args.has("dry_run")


def test_abbreviations_are_for_who_asks_for_them():
    words = ["--verb", "--li", "--pi", "12", "file"]
    args = parse(words, OPTIONS, abbreviations=True)
    assert (args.has("list"), args.has("verbose"), args.text("pid")) == (True, True, "12")
    with pytest.raises(UsageError, match="did you mean --verbose"):
        parse(words, OPTIONS)


def test_long_options_after_the_script_are_the_scripts():
    args = parse(["-v", "file", "--pi=1", "--pid=2", "--other", "--", "--pid=3"], OPTIONS, for_script=True)
    assert args.arguments == ["file", "--pi=1", "--other", "--pid=3"]
    assert args.text("pid") == "2"
    with pytest.raises(UsageError, match="did you mean --pid"):
        parse(["--pi=1", "file"], OPTIONS, for_script=True)


@pytest.mark.parametrize("words", [["file", "-5"], ["file", "-57"], ["-57", "file"], ["file", "-z57"]])
def test_what_looks_like_an_option_of_the_scripts(words):
    word = next(word for word in words if word[0] == "-")
    with pytest.raises(UsageError, match="there is no such option") as e:
        parse(words, OPTIONS, for_script=True)
    assert e.value.hint.endswith(f"what is meant for the script goes after --: -- {word}")
    assert e.value.message.split()[2] == ("-z:" if "z" in word else f"{word}:")


def test_listing_has_a_command_of_its_own():
    with pytest.raises(UsageError, match="osmia list"):
        parse(["-l", "x"], OPTIONS[2:], for_script=True)


def test_what_follows_two_dashes_is_left_alone():
    args = parse(["-I", "a", "-Ib", "x", "--", "--named=1", "-v", "-"], OPTIONS)
    assert args.texts("include_dir") == ["a", "b"]
    assert args.arguments == ["x", "--named=1", "-v", "-"]
    assert parse(["x", "-v"], OPTIONS, stop_at_first=True).arguments == ["x", "-v"]
    assert parse(["-vv"], OPTIONS).count("verbose") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--verbos3"], "did you mean --verbose?"),
        (["-x"], "there is no such option"),
        (["-p"], "it needs a value"),
        (["--pid"], "it needs a value"),
        (["--list=3"], "it takes no value"),
        (["-f", "jsn"], "did you mean json?"),
        (["-f", "zzz"], "one of text, json"),
        (["--"[:1] + "lz"], "there is no such option"),
    ],
)
def test_mistakes(words, message):
    with pytest.raises(UsageError) as e:
        parse(words, OPTIONS)
    assert message in str(e.value)


def test_seconds():
    assert parse(["-p", "1.5"], OPTIONS).seconds("pid") == 1.5
    assert parse([], OPTIONS).seconds("pid") is None


@pytest.mark.parametrize("text", ["x", "1s", "", "-1", "inf", "nan"])
def test_no_seconds(text):
    with pytest.raises(UsageError, match="no number of seconds"):
        parse([f"--pid={text}"], OPTIONS).seconds("pid")


def test_help_shows_all():
    text = help_lines(OPTIONS)
    for option in OPTIONS:
        assert all(name in text for name in option.names)
    assert "(text, json)" in text


def test_an_option_that_may_be_given_once():
    """A second script would silently take the place of the first."""
    for command in ("trace", "build"):
        with pytest.raises(UsageError, match="read option -e: it is given twice") as caught:
            main_command(command)(["-e", "begin { }", "-e", "end { }"])
        assert caught.value.hint == "put both into one script"


def main_command(name):
    import importlib

    return importlib.import_module(f"osmia.cli._{name}").run


def test_build_says_what_it_wrote(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main_command("build")(["-e", "interval:s:1 { @ = count(); }"]) == 0
    assert capfd.readouterr().err == "wrote a.bpf.o\n" and (tmp_path / "a.bpf.o").exists()
    assert main_command("build")(["-o", "b.o", "-e", "interval:s:1 { @ = count(); }"]) == 0
    assert capfd.readouterr().err == ""
    assert "a.bpf.o" in usage_of_build()


def usage_of_build():
    from osmia.cli._build import usage

    return usage()


def test_one_mistake_one_message(capfd):
    from osmia.cli import main

    assert main(["trace", "-e", "kprobe:nosuch_function_anywhere { @ = count(); }"]) == 1
    told = capfd.readouterr().err
    assert told.count("stdin:1:1-") == 1 and "ERROR: No matches for kprobe" in told and "WARNING" not in told
    assert main(["bpftrace", "-e", "kprobe:nosuch_function_anywhere { @ = count(); }"]) == 1
    assert "is not traceable" in capfd.readouterr().err  # bpftrace's own words
