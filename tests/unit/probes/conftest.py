"""A small machine made of files: tracefs, kallsyms."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.btf import Btf, load_kernel_btf
from osmia.errors import BtfError

OPENAT = """name: sys_enter_openat
ID: 732
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:int flags;\toffset:32;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;

print fmt: "dfd: 0x%08lx", ((unsigned long)(REC->dfd))
"""

KALLSYMS = b"""\
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000010 T __entry_text_start
ffffffff81000020 T entry_code
ffffffff81000100 T __entry_text_end
ffffffff81001000 T vfs_read
ffffffff81001100 t local_helper
ffffffff81001200 t local_helper.isra.0
ffffffff81001300 t local_helper.cold
ffffffff81001400 T rcu_note
ffffffff81001500 T __pfx_vfs_read
ffffffff81001600 W weak_one
ffffffff81001700 T sk_skb_reason_drop
ffffffff81001800 t gone.constprop.0
ffffffff81002000 D some_data
ffffffffc0001000 t mod_init\t[tiny]
ffffffffc0000800 t mod_work\t[tiny]
ffffffffc0004000 t bpf_prog_0123456789abcdef_myprog\t[bpf]
ffffffffc0005000 t ftrace_trampoline\t[__builtin__ftrace]
"""


@pytest.fixture
def fake_tracefs(tmp_path: Path) -> str:
    """A folder that looks like tracefs with four tracepoints and ftrace's own records."""
    for full in ("syscalls/sys_enter_openat", "syscalls/sys_exit_openat", "sched/sched_switch", "sched/sched_wakeup",
                 "ftrace/print"):  # fmt: skip
        event = full.rpartition("/")[2]
        folder = tmp_path / "events" / full
        folder.mkdir(parents=True)
        (folder / "format").write_text(OPENAT.replace("sys_enter_openat", event))
    (tmp_path / "events" / "enable").write_text("0\n")
    return str(tmp_path)


@pytest.fixture
def fake_kallsyms() -> bytes:
    """Symbols of a kernel with one module."""
    return KALLSYMS


@pytest.fixture(scope="session")
def kernel_btf() -> Btf:
    try:
        return load_kernel_btf()
    except BtfError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    folder = tmp_path_factory.mktemp("programs")

    def compile(name: str, code: str, *flags: str) -> str:
        compiler = "g++" if name.endswith("xx") else "gcc"
        if not shutil.which(compiler):
            pytest.skip(f"{compiler} is not installed")
        path = folder / name
        source = folder / f"{name}.{'cpp' if compiler == 'g++' else 'c'}"
        source.write_text(code)
        subprocess.run([compiler, "-O0", *flags, "-o", path, source], check=True, timeout=60)
        return str(path)

    return compile
