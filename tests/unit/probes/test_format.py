"""The `format` files of tracepoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.errors import FormatError
from osmia.probes import parse_format

HEAD = "name: x\nID: 5\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"


def one(declaration: str, size: int, signed: int = 0) -> tuple[str, str, int, str]:
    text = f"{HEAD}\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:{signed};\n"
    field = parse_format(text).args[0]
    assert (field.offset, field.size, field.signed) == (8, size, bool(signed))
    return field.type, field.name, field.count, field.dynamic


@pytest.mark.parametrize(
    ("declaration", "size", "expected"),
    [
        ("int dfd", 8, ("int", "dfd", 0, "")),
        ("const char * filename", 8, ("const char *", "filename", 0, "")),
        ("const char *filename", 8, ("const char *", "filename", 0, "")),
        ("char comm[16]", 16, ("char", "comm", 16, "")),
        ("unsigned long args[6]", 48, ("unsigned long", "args", 6, "")),
        ("unsigned long long x", 8, ("unsigned long long", "x", 0, "")),
        ("__data_loc char[] name", 4, ("char", "name", -1, "data_loc")),
        ("__rel_loc u8[] payload", 4, ("u8", "payload", -1, "rel_loc")),
        ("__data_loc cpumask_t cpumask", 4, ("cpumask_t", "cpumask", 0, "data_loc")),
        ("char msg[TASK_COMM_LEN]", 16, ("char", "msg", 16, "")),
        ("u32 words[MAX_WORDS]", 16, ("u32", "words", 4, "")),
        ("struct sock * sk", 8, ("struct sock *", "sk", 0, "")),
        ("char buf[]", 0, ("char", "buf", -1, "")),
    ],
)
def test_declarations(declaration: str, size: int, expected: tuple[str, str, int, str]) -> None:
    assert one(declaration, size) == expected


def test_whole_file(fake_tracefs: str) -> None:
    from pathlib import Path

    format = parse_format(Path(fake_tracefs, "events/syscalls/sys_enter_openat/format").read_text())
    assert (format.name, format.id, format.size) == ("sys_enter_openat", 732, 48)
    assert [f.name for f in format.args] == ["__syscall_nr", "dfd", "filename", "flags", "mode"]
    assert [f.declaration for f in format.args][2] == "const char * filename"
    assert len(format.fields) == 9 and format.fields[0].common
    filename = format.field("filename")
    assert filename is not None and filename.is_pointer and not filename.is_string
    assert format.field("nope") is None
    assert format.print_format.startswith('"dfd: 0x%08lx"')


def test_strings() -> None:
    fixed = "\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;\n"
    text = f"{HEAD}{fixed}\tfield:__data_loc char[] f;\toffset:24;\tsize:4;\tsigned:0;\n"
    assert [f.is_string for f in parse_format(text).args] == [True, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: x\n",
        "ID: 5\n",
        HEAD + "\tfield:int x;\toffset:a;\tsize:4;\n",
        HEAD + "\tfield:;\toffset:0;\tsize:4;\n",
    ],
)
def test_damage(text: str) -> None:
    with pytest.raises(FormatError):
        parse_format(text)


@given(st.text(alphabet="name: ID\tfieldoffsetsize;123[]*_ \n", max_size=200))
def test_any_text(text: str) -> None:
    try:
        parse_format(HEAD + text)
    except FormatError:
        return
