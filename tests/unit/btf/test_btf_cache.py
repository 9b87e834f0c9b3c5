"""The cached offset index: used when it is safe and right, otherwise made anew."""

from __future__ import annotations

import os

import pytest

from osmia.btf import Btf, BtfBuilder, cache_dir, load_kernel_btf
from osmia.errors import BtfError, CacheError


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A BTF file large enough to be cached, its cache in `tmp_path`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    b = BtfBuilder()
    for i in range(20_000):
        b.int(f"int_{i}", 4, bits=i % 31 + 1)
    (tmp_path / "big").write_bytes(b.build())
    return tmp_path / "big"


def index_file(cached):
    [name] = os.listdir(cached.parent / "cache/osmia")
    return cached.parent / "cache/osmia" / name


def works(cached) -> bool:
    btf = load_kernel_btf(path=str(cached))
    assert len(btf) == 20_000
    assert btf.find("int_19999") == 20_000
    return not isinstance(btf.offsets, list)  # a list was just built, a memoryview comes from the cache


def test_second_time_from_cache(cached):
    assert not works(cached)
    assert works(cached)
    assert index_file(cached).stat().st_mode & 0o777 == 0o600
    assert (cached.parent / "cache/osmia").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: b"",
        lambda d: d[:10],
        lambda d: d[:-4],
        lambda d: d + b"\0\0\0\0",
        lambda d: d[:5000] + b"\xff" + d[5001:],
        lambda d: b"OTHER" + d[5:],
    ],
)
def test_damaged_cache_is_made_anew(cached, damage):
    works(cached)
    file = index_file(cached)
    file.write_bytes(damage(file.read_bytes()))
    assert not works(cached)
    assert works(cached)


def test_file_that_others_can_write_is_not_used(cached):
    works(cached)
    index_file(cached).chmod(0o666)
    assert not works(cached)


def test_symbolic_link_is_not_followed(cached):
    works(cached)
    file = index_file(cached)
    file.rename(cached.parent / "elsewhere")
    file.symlink_to(cached.parent / "elsewhere")
    assert not works(cached)


def test_directory_that_others_can_write_is_refused(cached):
    works(cached)
    (cached.parent / "cache/osmia").chmod(0o777)
    with pytest.raises(CacheError, match="others can write to it"):
        cache_dir()
    assert not works(cached)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_directory_of_somebody_else_is_refused(cached):
    works(cached)
    os.chown(cached.parent / "cache/osmia", 12345, 12345)
    with pytest.raises(CacheError, match="somebody else"):
        cache_dir()
    assert not works(cached)


def test_cache_that_cannot_be_made(cached, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cached))  # a file
    with pytest.raises(CacheError, match="make cache directory"):
        cache_dir()
    assert not works(cached)


def test_changed_file_gets_its_own_index(cached):
    works(cached)
    b = BtfBuilder()
    for i in range(20_000):
        b.typedef(f"int_{i}", i)
    cached.write_bytes(b.build())
    assert not works(cached)


def test_small_btf_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    b = BtfBuilder()
    b.int("int", 4)
    (tmp_path / "small").write_bytes(b.build())
    assert isinstance(load_kernel_btf(path=str(tmp_path / "small")), Btf)
    assert os.listdir(tmp_path) == ["small"]


def test_no_btf():
    with pytest.raises(BtfError, match="CONFIG_DEBUG_INFO_BTF"):
        load_kernel_btf(path="/nonexistent/vmlinux")
