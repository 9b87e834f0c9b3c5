"""What a failed compilation leaves behind."""

from __future__ import annotations

import os

import pytest

from osmia.errors import SourceError
from osmia.lang.bpftrace import compile_script


def open_files() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue  # the descriptor of the listing itself
    return sorted(found)


@pytest.mark.skipif(not os.path.exists("/sys/kernel/btf/vmlinux"), reason="the kernel has no BTF")
def test_an_error_that_is_kept_keeps_no_file_open() -> None:
    before = open_files()
    kept = []
    for script in ("begin { print(curtask->nonsense); }", "begin { nonsense }"):
        with pytest.raises(SourceError) as e:
            compile_script(script)
        kept.append(e.value)
    assert open_files() == before
    assert all(e.__traceback__ is not None for e in kept)
