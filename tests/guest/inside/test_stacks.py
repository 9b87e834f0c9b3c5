"""Stacks of the kernel and of programs, from probes of each kind that takes them."""

from __future__ import annotations

import time
from collections.abc import Callable

from _workloads import Workload

import osmia

SCRIPT = """
config = { max_map_keys = 10000 }
tracepoint:syscalls:sys_enter_getuid /pid == $1/ { @t[ustack] = count(); @tk[kstack] = count(); }
kprobe:from_kuid_munged /pid == $1/ { @k[kstack, ustack] = count(); }
fentry:from_kuid_munged /pid == $1/ { @f[kstack, ustack] = count(); }
profile:hz:99 { @p[kstack, ustack] = count(); }
"""


def test_no_stack_takes_the_place_of_another(program: Callable[..., Workload]) -> None:
    work = program("stacks.c", 1500, 2)
    with osmia.trace(SCRIPT, str(work.pid)) as t:
        done = work.finish()
        time.sleep(0.3)  # the profile sees somebody
        maps = {name: list(view.items()) for name, view in t.maps.items()}
        names = {frame.split("+")[0] for (kernel, _user), _count in maps["@k"] for frame in kernel.frames}
    assert done["different"] == 1500
    assert [count for _stack, count in maps["@t"]] == [2] * 1500
    for name in ("@k", "@f"):  # other system calls of the program come there, too
        counts = [count for (_kernel, user), count in maps[name] if len(user.addresses) >= 14]
        assert counts == [2] * 1500, name
    assert sum(count for _key, count in maps["@tk"]) == 3000
    assert {"from_kuid_munged", "do_syscall_64"} <= names
    assert maps["@p"]
    assert t.warnings == []
