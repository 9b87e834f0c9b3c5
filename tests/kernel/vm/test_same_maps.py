"""Scripts on system calls leave the same maps on both targets: the kernel as root, user space as nobody.

The scripts are those of the language's own tests that need nothing of the kernel but its system calls. User space runs
in a process without any capability, which can read neither tracefs nor the caches of root.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _workloads import HERE

import osmia

NOBODY = 65534
SOURCES = str(Path(osmia.__file__).parents[1])
DROP = [
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
]  # fmt: skip
LIMIT_S = 30
SIZES = [1, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 4096]
WRITE = "tracepoint:syscalls:sys_enter_write /pid == cpid && args.fd == 3/"
PPID = "tracepoint:syscalls:sys_enter_getppid /pid == cpid/"
OPENAT = "tracepoint:syscalls:sys_enter_openat /pid == cpid && str(args.filename) == str($1)/"
# A Python that nobody may run too.
PYTHON = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(p, os.X_OK)), "")

# Bodies for a write of each of SIZES.
BODIES = {
    "scalars": "@n = count(); @s = sum(args.count); @a = avg(args.count); @least = min(args.count); "
    "@most = max(args.count); @st = stats(args.count);",
    "keyed": "$odd = args.count % 2; @n[$odd] = count(); @s[$odd] = sum(args.count); @a[$odd] = avg(args.count); "
    "@least[$odd] = min(args.count); @most[$odd] = max(args.count); @st[$odd] = stats(args.count);",
    "negative": "$v = (int64)args.count; @s = sum(-$v); @least = min(-$v); @most = max(-$v); @a = avg(-$v); "
    "@h = hist(-$v);",
    "hist": "@h = hist(args.count); @k[args.fd] = hist(args.count); @fine = hist(args.count, 2);",
    "lhist": "@a = lhist(args.count, 0, 100, 10); @b = lhist(args.count, 5, 50, 5); @c[comm] = lhist(args.count, 100, "
    "1000, 250);",
    "if": "if (args.count < 5) { @small = count(); } else if (args.count < 100) { @middle = count(); } "
    "else { @large = count(); }",
    "ternary": '@[args.count > 20 ? "large" : "small"] = count(); $zero = args.count / 1000; @e = sum($zero ?: 7);',
    "for_range": "$size = args.count; for ($i : 0..10) { if ($size & (1 << $i)) { @bits[$i] = count(); } } "
    "for ($i : 0..$size) { if ($i == 20) { break; } if ($i % 2) { continue; } @rounds = count(); }",
    "while": "$n = args.count; $bits = 0; while ($n > 0) { $n = $n >> 1; $bits++; if ($bits >= 64) { break; } } "
    "@bits[$bits] = count();",
    "unroll": "$i = 0; unroll (7) { $i += 1; @[$i] = count(); @s = sum($i); }",
    "casts": "@u8[(uint8)args.count] = count(); @i8[(int8)args.count] = count(); "
    "@i16 = sum((int16)(args.count * 100)); @wide = max((uint64)(uint32)(0 - args.count));",
    "tuples": '$t = (args.count, args.count % 2 == 0 ? "even" : "odd", (args.fd, 7)); @[$t.1, $t.2.0] = sum($t.0); '
    "@last = $t; @whole[$t.0, $t.2] = count();",
    "operators": "$n = (int64)args.count; @a[$n] = ($n + 3) * 11 - $n / 7; @b[$n] = $n % 7 | $n & 0x55 ^ 0x2a; "
    "@c[$n] = (-$n) / 3; @d[$n] = (-$n) % 5; @e[$n] = (-$n) >> 1; @f[$n] = ~$n << 4; "
    "@g[$n] = (int64)($n > 5 && $n < 50);",
    "assignments": "$v = (int64)args.count; $v += 5; $v -= 2; $v *= 3; $v /= 2; $v %= 1000; $v <<= 2; $v >>= 1; "
    "$v &= 0x7ff; $v |= 1; $v ^= 2; @[args.count] = $v; @total++; @sum += 2;",
    "blocks": "let $total: uint64 = 0; let $narrow: uint8 = 200; if (args.count > 10) { let $inner = args.count; "
    "$total = $inner; } $total += $narrow; @ = sum($total);",
    "maps": "@scalar = args.count; @one[args.count] = args.fd; @two[comm, args.count] = pid == cpid; @seen += 1; "
    "@chain[@seen] = @scalar; @missing = @one[99999];",
    "parameters": "if (args.count > $1) { @large[str($2)] = count(); } @number = $#; @absent = $9;",
    "reading": "@n = count(); @s = sum(args.count); if (@n == 10) { @ten = (int64)@s; }",
    "has_key": "@seen[args.count] = args.fd; @gone[args.count] = count(); @kept[args.count] = count(); "
    "if (has_key(@seen, 3)) { @has = count(); } if (args.count == 21) { delete(@seen, 13); delete(@seen[8]); "
    "@length = len(@seen); }",
    "texts": '@s = strlen("four"); @c = strlen(comm); @same[comm == "osmia-work"] = count(); @t = "it is"; '
    '@cmp = strncmp(comm, "osm", 3); @has[strcontains(comm, "work")] = count();',
    "bytes": "@[args.count] = buf(args.buf, 4); @text = str(args.buf, 3);",
    "orders": "@two = bswap((uint16)0x1234); @four = bswap((uint32)0x12345678); @eight = bswap((uint64)args.count);",
    "task": "@[comm, pid == tid, cpid == pid, ppid == $1] = count(); @names[probe] = count();",
    "strings_as_keys": "@[str(args.buf, args.count > 8 ? 8 : args.count)] = count();",
}  # fmt: skip
# name -> (script, workload and its arguments, parameters)
SCRIPTS: dict[str, tuple[str, tuple[object, ...], tuple[object, ...]]] = {
    name: (f"{WRITE} {{ {body} }}", ("sizes", *SIZES), (50, "big one") if name == "parameters" else (1,))
    for name, body in BODIES.items()
}
FILE = "/etc/hostname"
SCRIPTS |= {
    "opens": (
        OPENAT + " { @[str(args.filename), args.flags, (int32)args.dfd, args.mode] = count(); "
        "@short = str(args.filename, 5); @same[str(args.filename) == str($1)] = count(); @on[tid] = 1; } "
        "tracepoint:syscalls:sys_exit_openat /@on[tid]/ { @ret[args.ret] = count(); delete(@on, tid); }",
        ("opens", FILE, 10), (FILE,),
    ),
    "missing file": (
        OPENAT + " { @on[tid] = 1; } "
        "tracepoint:syscalls:sys_exit_openat /@on[tid]/ "
        "{ @[strerror(-args.ret)] = count(); delete(@on, tid); @all[args.ret] = 1; } END { clear(@all); }",
        ("opens", "/etc/no such file", 4), ("/etc/no such file",),
    ),
    "reads": (
        "tracepoint:syscalls:sys_enter_read /pid == cpid && args.count == 4321/ { @ = count(); @on = 1; } "
        "tracepoint:syscalls:sys_exit_read /pid == cpid && @on/ { @bytes = sum(args.ret); @h = hist(args.ret); "
        "@on = 0; }",
        ("reads", 4321, 30), (),
    ),
    "both sides": (
        "tracepoint:syscalls:sys_enter_getppid, tracepoint:syscalls:sys_exit_getppid /pid == cpid/ "
        "{ @[probe] = count(); }",
        ("becomes", NOBODY, NOBODY, 20), (),
    ),
    "users": (PPID + " { @[uid, gid] = count(); @name[username] = count(); }", ("becomes", NOBODY, NOBODY, 20), ()),
    "raw": (
        "tracepoint:raw_syscalls:sys_enter /pid == cpid && args.id == 110/ { @[args.id] = count(); @on = 1; } "
        "tracepoint:raw_syscalls:sys_exit /pid == cpid && args.id == 110/ { @same[args.ret == ppid] = count(); }",
        ("becomes", NOBODY, NOBODY, 20), (),
    ),
    "naps": (
        "tracepoint:syscalls:sys_enter_clock_nanosleep /pid == cpid/ { @[args.which_clock, args.flags] = count(); "
        "@t = nsecs; } "
        "tracepoint:syscalls:sys_exit_clock_nanosleep /pid == cpid/ { @later[nsecs > @t] = count(); @t = 0; }",
        ("naps", 7, 5), (),
    ),
    "signals": (
        "tracepoint:syscalls:sys_enter_kill /pid == cpid/ { @[args.sig, signal_name(args.sig), args.pid == pid] = "
        "count(); } "
        "tracepoint:syscalls:sys_exit_kill /pid == cpid/ { @error[strerror(args.ret)] = count(); } "
        "tracepoint:signal:signal_generate /pid == cpid && args.sig == 10/ { @made[args.sig, args.comm] = count(); }",
        ("signals", 5), (),
    ),
    "children": (
        "tracepoint:sched:sched_process_fork /pid == cpid/ { @forks[args.parent_comm, args.child_comm] = count(); } "
        "tracepoint:sched:sched_process_exit /ppid == cpid/ { @exits[args.comm] = count(); } "
        "tracepoint:syscalls:sys_enter_exit_group /ppid == cpid/ { @status[args.error_code] = count(); }",
        ("forks", 9), (),
    ),
    "programs": (
        "tracepoint:syscalls:sys_enter_execve /ppid == cpid/ { $s = str(args.argv[1]); "
        '@[str(args.filename), $s] = count(); @n[strncmp($s, "need", 4)] = count(); @length[strlen($s)] = count(); } '
        "tracepoint:sched:sched_process_exec /ppid == cpid/ { @exec[str(args.filename), args.pid == pid, comm] = "
        "count(); }",
        ("execs", 3, "/bin/true", "needle in a haystack"), (),
    ),
    "network": (
        "tracepoint:syscalls:sys_enter_sendto /pid == cpid/ { @[args.len, args.flags] = count(); } "
        "tracepoint:syscalls:sys_exit_recvfrom /pid == cpid/ { @got[args.ret] = count(); }",
        ("datagrams", 1237, 11), (),
    ),
}  # fmt: skip


def maps_of(script: str, argv: list[str], params: tuple[object, ...], target: str) -> dict[str, Any]:
    """Run a command under a script; the maps, as plain values."""
    with osmia.trace(script, *map(str, params), cmd=argv, target=target, duration=LIMIT_S) as trace:
        trace.wait()
        assert trace.lost == {}
        maps = {name: view.value if view.scalar else dict(view.items()) for name, view in trace.maps.items()}
        return {name: _plain(value) for name, value in maps.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    return value if isinstance(value, int | str | bytes | bool | None) else str(value)


def as_nobody(script: str, argv: list[str], params: tuple[object, ...], folder: Path) -> dict[str, Any]:
    """`maps_of` on user space, in a process that may do nothing."""
    answer = folder / "answer"
    code = (
        "import pickle, sys; from test_same_maps import maps_of; script, argv, params, answer = eval(sys.argv[1]); "
        "open(answer, 'wb').write(pickle.dumps(maps_of(script, argv, params, 'vm')))"
    )
    path = [SOURCES, str(HERE.parent), str(Path(__file__).parent)]
    done = subprocess.run(
        [*DROP, sys.executable, "-c", code, repr((script, argv, params, str(answer)))],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(path), "OSMIA_CACHE_DIR": str(folder)},
        capture_output=True, text=True, timeout=2 * LIMIT_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    maps: dict[str, Any] = pickle.loads(answer.read_bytes())
    answer.unlink()
    return maps


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder of nobody's own for what is compiled there."""
    path = Path(tempfile.mkdtemp(prefix="osmia-nobody-"))
    os.chown(path, NOBODY, NOBODY)
    tried = subprocess.run([*DROP, sys.executable, "-c", "import mmap"], capture_output=True, timeout=LIMIT_S)
    if tried.returncode:
        pytest.skip(f"{sys.executable} is closed to other users")
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(not PYTHON, reason="needs a python3 in /usr that every user may run")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's side")
@pytest.mark.parametrize("name", SCRIPTS)
def test_both_targets_leave_the_same_maps(name: str, folder: Path) -> None:
    script, (what, *arguments), params = SCRIPTS[name]
    argv = [PYTHON, "-I", "-S", str(HERE / "activity.py"), str(what), *map(str, arguments)]
    here = as_nobody(script, argv, params, folder)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    there = maps_of(script, [*user, *argv], params, "kernel")
    assert here == there
    assert any(value not in ({}, None, 0) for value in there.values())
