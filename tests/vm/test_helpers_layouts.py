"""Layouts of contexts are those of the UAPI headers: asked of a C compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from osmia.vm._context_layouts import LAYOUTS, SOCK, SOCK_SIZE

# Program type: struct, fields that an older header may lack, or that have another name there
_STRUCTS = {
    "xdp": "xdp_md",
    "sched_cls": "__sk_buff",
    "cgroup_sock": "bpf_sock",
    "cgroup_sock_addr": "bpf_sock_addr",
    "sock_ops": "bpf_sock_ops",
    "sk_msg": "sk_msg_md",
    "sk_lookup": "bpf_sk_lookup",
    "sk_reuseport": "sk_reuseport_md",
    "cgroup_device": "bpf_cgroup_dev_ctx",
    "cgroup_sysctl": "bpf_sysctl",
    "cgroup_sockopt": "bpf_sockopt",
}


@pytest.fixture(scope="module")
def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None or not Path("/usr/include/linux/bpf.h").exists():
        pytest.skip("needs a C compiler and linux/bpf.h")
    return found


def _offsets(compiler: str, folder: Path, struct: str, names: list[str]) -> tuple[dict[str, int], int]:
    """Offsets of the members that this header knows, and the struct's size."""
    known = []
    for name in names:
        probe = f"#include <stddef.h>\n#include <linux/bpf.h>\nint x = offsetof(struct {struct}, {name});\n"
        (folder / "p.c").write_text(probe)
        done = subprocess.run([compiler, "-fsyntax-only", "p.c"], cwd=folder, capture_output=True, check=False)
        if done.returncode == 0:
            known.append(name)
    lines = "".join(f'printf("{name} %zu\\n", offsetof(struct {struct}, {name}));' for name in known)
    lines += f'printf("size %zu\\n", sizeof(struct {struct}));'
    (folder / "o.c").write_text(
        f"#include <stddef.h>\n#include <stdio.h>\n#include <linux/bpf.h>\nint main(void) {{ {lines} return 0; }}\n"
    )
    subprocess.run([compiler, "o.c", "-o", "o"], cwd=folder, check=True)
    out = subprocess.run([str(folder / "o")], capture_output=True, text=True, check=True).stdout
    rows = dict(line.split() for line in out.splitlines())
    size = int(rows.pop("size"))
    return {name: int(at) for name, at in rows.items()}, size


@pytest.mark.parametrize("kind", _STRUCTS)
def test_offsets(compiler: str, tmp_path: Path, kind: str) -> None:
    layout, size = LAYOUTS[kind]
    found, real = _offsets(compiler, tmp_path, _STRUCTS[kind], list(layout))
    assert len(found) >= len(layout) - 3, set(layout) - set(found)
    assert {name: layout[name][0] for name in found} == found
    assert size == real or len(found) < len(layout)


def test_sockets(compiler: str, tmp_path: Path) -> None:
    found, real = _offsets(compiler, tmp_path, "bpf_sock", list(SOCK))
    assert {name: SOCK[name][0] for name in found} == found
    assert real == SOCK_SIZE
