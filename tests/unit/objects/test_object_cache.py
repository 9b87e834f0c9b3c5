"""The compile cache: what it keeps, what it refuses, what it forgets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from osmia.errors import CacheError
from osmia.objects import Cache, Object, cache_dir, cache_key


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.open(str(tmp_path / "cache"))


def test_put_and_get(cache: Cache, obj: Object) -> None:
    key = cache_key("source", b"options", 3)
    assert cache.get(key) is None
    assert cache.put(key, obj)
    assert cache.get(key) == obj
    assert cache.get(cache_key("source", b"options", 4)) is None
    assert cache.put(key, obj.replace(license="MIT"))
    found = cache.get(key)
    assert found is not None and found.license == "MIT"
    assert cache.clear() == 1
    assert cache.get(key) is None


def test_keys_depend_on_type_and_split() -> None:
    keys = {cache_key("ab"), cache_key("a", "b"), cache_key(b"ab"), cache_key("1"), cache_key(1), cache_key()}
    assert len(keys) == 6
    assert all(len(key) == 32 for key in keys)


def test_created_for_the_owner_alone(tmp_path: Path, obj: Object) -> None:
    where = tmp_path / "new" / "osmia"
    with Cache.open(str(where)) as cache:
        cache.put(cache_key("x"), obj)
        assert where.stat().st_mode & 0o777 == 0o700
        (entry,) = where.iterdir()
        assert entry.stat().st_mode & 0o777 == 0o600
    cache.close()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(CacheError, match="others can write"):
        Cache.open(str(tmp_path))
    tmp_path.chmod(0o700)


def test_link_and_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("x")
    for name in ("link", "file"):
        with pytest.raises(CacheError):
            Cache.open(str(tmp_path / name))


def test_directory_of_another_user_is_refused() -> None:
    if os.geteuid() == 0:
        pytest.skip("needs to be an ordinary user: / belongs to root")
    with pytest.raises(CacheError, match="belongs to user 0"):
        Cache.open("/usr")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_what_was_given_away_is_refused(tmp_path: Path, obj: Object) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(CacheError, match="belongs to user 12345"):
        Cache.open(str(tmp_path))
    os.chown(tmp_path, 0, 0)
    with Cache.open(str(tmp_path)) as cache:
        key = cache_key("x")
        cache.put(key, obj)
        (entry,) = tmp_path.iterdir()
        os.chown(entry, 12345, 12345)
        with pytest.raises(CacheError, match="belongs to user 12345"):
            cache.get(key)


def test_entry_that_others_can_write_or_a_link_is_refused(cache: Cache, obj: Object) -> None:
    key = cache_key("x")
    cache.put(key, obj)
    (entry,) = Path(cache.path).iterdir()
    entry.chmod(0o622)
    with pytest.raises(CacheError, match="others can write"):
        cache.get(key)
    entry.rename(Path(cache.path) / "moved")
    entry.symlink_to(Path(cache.path) / "moved")
    with pytest.raises(CacheError):
        cache.get(key)
    entry.unlink()
    os.mkfifo(entry, 0o600)
    with pytest.raises(CacheError, match="not a regular file"):
        cache.get(key)


def test_damaged_entries_are_dropped_and_replaced(cache: Cache, obj: Object) -> None:
    key = cache_key("x")
    cache.put(key, obj)
    (entry,) = Path(cache.path).iterdir()
    good = entry.read_bytes()
    for bad in (b"", good[:30], good[:-1], good + b"x", good[:60] + b"\0" + good[61:], b"junk" * 50):
        entry.write_bytes(bad)
        assert cache.get(key) is None
        assert not entry.exists()
        assert cache.put(key, obj) and cache.get(key) == obj


def test_entry_under_the_wrong_key_is_not_taken(cache: Cache, obj: Object) -> None:
    cache.put(cache_key("a"), obj)
    (entry,) = Path(cache.path).iterdir()
    entry.rename(Path(cache.path) / f"{cache_key('b').hex()}.obj")
    assert cache.get(cache_key("b")) is None


def test_least_recently_used_goes_first(tmp_path: Path, obj: Object) -> None:
    big = obj.replace(btf=bytes(10_000))
    with Cache.open(str(tmp_path / "c"), limit=100_000) as cache:
        keys = [cache_key(i) for i in range(9)]
        for i, key in enumerate(keys[:8]):
            cache.put(key, big)
            os.utime(tmp_path / "c" / f"{key.hex()}.obj", (1000 + i, 1000 + i))
        assert cache.get(keys[0]) == big  # used now
        cache.put(keys[8], big)
        total = sum(p.stat().st_size for p in (tmp_path / "c").iterdir())
        assert total <= 100_000
        assert cache.get(keys[1]) is None
        assert cache.get(keys[0]) is not None and cache.get(keys[8]) is not None
        assert not cache.put(cache_key("huge"), obj.replace(btf=bytes(200_000)))


def test_abandoned_temporary_files_go(cache: Cache, obj: Object) -> None:
    stale = Path(cache.path) / ".tmp-1-dead"
    stale.write_bytes(b"x")
    os.utime(stale, (1, 1))
    cache.put(cache_key("x"), obj)
    assert not stale.exists()


def test_a_vanished_directory_stores_nothing(cache: Cache, obj: Object) -> None:
    Path(cache.path).rmdir()
    assert not cache.put(cache_key("x"), obj)
    assert cache.get(cache_key("x")) is None


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSMIA_CACHE_DIR", "/a/b")
    assert cache_dir() == "/a/b"
    monkeypatch.delenv("OSMIA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_dir() == "/x/osmia"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == f"{tmp_path}/.cache/osmia"


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user cannot start the interpreter again")
def test_import_stays_light() -> None:
    code = "import sys, osmia.objects; print(*sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60,
                         env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    heavy = {"typing", "dataclasses", "enum", "re", "json", "hashlib", "pathlib", "tempfile", "mmap", "lzma"}
    assert not heavy & set(out.stdout.split())
