"""bpftool, which brings libbpf, with a BPF file system of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "objects"))

from clang_bpf import compile_bpf


@pytest.fixture(scope="session")
def compile_c() -> Callable[..., bytes]:
    """`compile_c(source, folder, cpu=, flags=)` -> bytes of the object."""
    return compile_bpf


@pytest.fixture
def loadall(tmp_path: Path) -> Callable[[bytes], tuple[list[str], str]]:
    """Load an object with `bpftool prog loadall`: (names of what it pinned, what libbpf said).

    The file system is mounted in a mount namespace of its own: nothing of it is left when the process ends.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    bpftool = shutil.which("bpftool") or shutil.which("/usr/sbin/bpftool")
    unshare = shutil.which("unshare")
    if bpftool is None or unshare is None:
        pytest.skip("bpftool or unshare is not installed")

    def run(data: bytes) -> tuple[list[str], str]:
        path = tmp_path / "written.bpf.o"
        path.write_bytes(data)
        script = f"mount -t bpf none /sys/fs/bpf && {bpftool} -d prog loadall {path} /sys/fs/bpf/x && ls /sys/fs/bpf/x"
        done = subprocess.run([unshare, "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60)
        if done.returncode and "mount:" in done.stderr:
            pytest.skip(f"cannot mount a BPF file system: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr[-3000:]
        return sorted(done.stdout.split()), done.stderr

    return run
