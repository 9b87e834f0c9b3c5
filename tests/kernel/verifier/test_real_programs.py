"""Programs that people use, those of Debian's libbpf-tools and xdp-tools: verdicts are the running kernel's."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from osmia.errors import MapError, NotSupported, ObjectError, OsmiaError
from osmia.kernel import KernelTarget
from osmia.objects import Object, read_elf
from osmia.verifier import from_spec, profile, verify

PACKAGES = ("libbpf-tools", "xdp-tools", "libxdp1")
EM_BPF = 247
FOLDERS = ("/usr/sbin/", "/usr/lib/")


def installed() -> list[Path]:
    """The packages' files that may hold objects."""
    lists = [Path(f"/var/lib/dpkg/info/{name}{arch}.list") for name in PACKAGES for arch in ("", ":amd64", ":arm64")]
    paths = [Path(line) for listed in lists if listed.exists() for line in listed.read_text().splitlines()]
    return sorted(p for p in paths if str(p).startswith(FOLDERS) and p.is_file() and not p.is_symlink())


def embedded(data: bytes) -> Iterator[bytes]:
    """BPF objects in a file: itself, or what bpftool's skeletons put into programs."""
    at = data.find(b"\x7fELF\x02\x01")
    while at >= 0:
        if struct.unpack_from("<H", data, at + 18)[0] == EM_BPF:
            (sections,) = struct.unpack_from("<Q", data, at + 40)
            size, count = struct.unpack_from("<HH", data, at + 58)
            yield data[at : at + sections + size * count]
        at = data.find(b"\x7fELF\x02\x01", at + 4)


OBJECTS = [(path.name, raw) for path in installed() for raw in embedded(path.read_bytes())]


def kernels_verdict(obj: Object, name: str) -> bool | None:
    """None where the kernel, or the loader before it, did not come to the program itself."""
    programs = tuple([p.replace(autoload=p.name == name) for p in obj.programs])
    try:
        with KernelTarget().load(obj.replace(programs=programs)):
            return True
    except MapError:
        return None  # sizes that the tool sets when it runs
    except NotSupported as e:
        return False if "this kernel" in e.message else None  # fentry, where the kernel has no such programs
    except OsmiaError:
        return False


def our_verdict(obj: Object, name: str) -> tuple[bool, str]:
    spec = next(p for p in obj.programs if p.name == name)
    try:
        verdict = verify(from_spec(obj, spec), profile(os.uname().release))
    except ObjectError as e:
        return False, e.message
    return verdict.accepted, verdict.message


@pytest.mark.skipif(not OBJECTS, reason=f"none of {', '.join(PACKAGES)} is installed")
@pytest.mark.parametrize("raw", [raw for _, raw in OBJECTS], ids=[name for name, _ in OBJECTS])
def test_verdicts_are_the_kernels(raw: bytes) -> None:
    obj = read_elf(raw)
    assert obj.programs
    compared = 0
    for spec in obj.programs:
        wanted = kernels_verdict(obj, spec.name)
        if wanted is not None:
            compared += 1
            accepted, message = our_verdict(obj, spec.name)
            assert accepted == wanted, f"{spec.name}: {message}"
    if not compared:
        pytest.skip("this kernel refuses such programs for other reasons")


@pytest.mark.skipif(not OBJECTS, reason=f"none of {', '.join(PACKAGES)} is installed")
def test_most_are_loaded() -> None:
    """That the kernel is asked at all: far more than half of the first programs load."""
    firsts = [read_elf(raw) for _, raw in OBJECTS]
    assert sum(kernels_verdict(obj, obj.programs[0].name) is True for obj in firsts) > len(firsts) / 2
