"""Kernel addresses that are hidden: told apart from those that are 0 for good reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia.session._losses import hidden_addresses


def kallsyms(tmp_path: Path, *addresses: int) -> str:
    path = tmp_path / "kallsyms"
    path.write_text("".join(f"{address:016x} T symbol{i}\n" for i, address in enumerate(addresses)))
    return str(path)


def test_shown(tmp_path: Path) -> None:
    assert hidden_addresses(kallsyms(tmp_path, 0, 0, 0x1000, 0xFFFFFFFF81000000)) == ""


def test_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import osmia.syscalls as syscalls

    path = kallsyms(tmp_path, 0, 0, 0)
    monkeypatch.setattr(syscalls, "effective_capabilities", lambda: frozenset())
    assert "CAP_SYSLOG is missing (run it with sudo" in hidden_addresses(path)
    monkeypatch.setattr(syscalls, "effective_capabilities", lambda: frozenset({"CAP_SYSLOG"}))
    monkeypatch.setattr(syscalls, "sysctl", lambda name: 2)
    text = hidden_addresses(path)
    assert "kernel.kptr_restrict is 2" in text and "missing" not in text
    monkeypatch.setattr(syscalls, "sysctl", lambda name: 1)
    assert "something else does" in hidden_addresses(path)


def test_there_is_no_list(tmp_path: Path) -> None:
    assert hidden_addresses(str(tmp_path / "none")) == ""
