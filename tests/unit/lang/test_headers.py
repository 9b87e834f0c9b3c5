"""Headers of the system that are not installed: what they define is known all the same."""

from __future__ import annotations

import errno
import socket

import pytest

from osmia.errors import SourceError
from osmia.lang.bpftrace import Compilation, ast
from osmia.lang.bpftrace.headers import constants


def numbers(script: str, **options: object) -> list[int]:
    """The integers that begin's printf() is given."""
    tree = Compilation(script, **options).parse()  # type: ignore[arg-type]
    call = tree.probes[0].body[0].expr  # type: ignore[attr-defined]
    return [a.value for a in call.args[1:] if isinstance(a, ast.Integer)]


@pytest.mark.parametrize(
    ("header", "name", "value"),
    [
        ("errno.h", "EPERM", errno.EPERM),
        ("linux/socket.h", "AF_INET6", int(socket.AF_INET6)),
        ("limits.h", "UINT_MAX", 0xFFFFFFFF),
        ("stdint.h", "INT64_MAX", (1 << 63) - 1),
        ("fcntl.h", "O_CREAT", 0o100),
        ("signal.h", "SIGKILL", 9),
    ],
)
def test_constants(header: str, name: str, value: int) -> None:
    assert constants(header)[name] == value
    assert numbers(f'#include <{header}>\nbegin {{ printf("%d", {name}); }}') == [value]


def test_system_calls_have_their_numbers() -> None:
    from osmia.probes import syscall_names

    assert syscall_names()[constants("syscall.h")["__NR_read"]] == "read"
    assert constants("sys/syscall.h")["SYS_openat"] == constants("asm/unistd.h")["__NR_openat"]


def test_option_include_comes_first_and_keeps_the_lines_of_the_script() -> None:
    assert numbers('begin { printf("%d", EPERM); }', includes=("errno.h",)) == [1]
    with pytest.raises(SourceError) as e:
        Compilation("begin { nonsense( }", includes=("errno.h",)).parse()
    assert e.value.diagnostics[0].line == 1


def test_a_definition_of_the_script_stands() -> None:
    assert numbers('#define EPERM 77\n#include <errno.h>\nbegin { printf("%d", EPERM); }') == [77]


def test_a_file_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(SourceError) as e:
        Compilation("#include <lol/no.h>\nbegin { }").check()
    assert "'lol/no.h' file not found" in str(e.value)
