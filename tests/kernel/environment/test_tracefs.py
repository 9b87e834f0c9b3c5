"""No tracefs: a mount of our own where we may mount, else tracepoints say so and all other probes work."""

from __future__ import annotations

import json
import os

import pytest
from _environment import TRACEFS_MOUNTS, Place, refused

NONE = {"unmount": [*TRACEFS_MOUNTS, "/sys/kernel/debug"]}
MAY_NOT = {**NONE, "drop": ["CAP_SYS_ADMIN"]}
TRACEPOINT = "tracepoint:syscalls:sys_enter_getppid { @ = count(); }"
OTHERS = (
    "begin { exit(); }",
    "interval:s:9 { @ = count(); }",
    "rawtracepoint:sched_process_exec { @ = count(); }",
    "rawtracepoint:sched_switch { @ = args.prev.pid; }",
    "software:cpu-clock:1000000000 { @ = count(); }",
    "iter:task { @ = count(); }",
)
COMMAND = "sudo mount -t tracefs tracefs /sys/kernel/tracing"


def test_a_private_mount_is_made(place: Place) -> None:
    assert place.trace(TRACEPOINT, **NONE).returncode == 0
    done = place.run("list", "tracepoint:syscalls:*getppid", **NONE)
    assert done.stdout == "tracepoint:syscalls:sys_enter_getppid\ntracepoint:syscalls:sys_exit_getppid\n"
    done = place.run("list", "-v", "tracepoint:syscalls:sys_enter_openat", **NONE)
    assert "    int dfd\n" in done.stdout


def test_its_arguments_are_read(place: Place) -> None:
    script = "tracepoint:syscalls:sys_enter_openat /pid == cpid/ { @[str(args.filename)] = count(); }"
    done = place.run("trace", "-c", "/bin/cat /etc/hostname", "-e", script, **NONE)
    assert done.returncode == 0 and "@[/etc/hostname]: 1\n" in done.stdout


def test_without_the_right_to_mount(place: Place) -> None:
    done = place.trace(TRACEPOINT, **MAY_NOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert "mount tracefs: it is not mounted, and CAP_SYS_ADMIN is missing to do it" in done.stderr
    assert COMMAND in done.stderr
    for script in OTHERS:
        done = place.trace(script, **MAY_NOT)
        assert done.returncode == 0, (script, done.stderr)
    if os.path.exists("/sys/bus/event_source/devices/kprobe"):
        assert place.trace("kprobe:do_nanosleep { @ = count(); }", **MAY_NOT).returncode == 0


def test_uprobes_need_no_tracefs(place: Place) -> None:
    assert place.trace("uprobe:libc:getppid { @ = count(); }", **NONE).returncode == 0


def test_lists(place: Place) -> None:
    text = refused(place.run("list", "tracepoint:sched:*", **MAY_NOT))
    assert "mount tracefs: " in text and f"hint: {COMMAND}\n" in text
    done = place.run("list", "*getppid*", **MAY_NOT)
    assert done.returncode == 0 and "kprobe:__do_sys_getppid\n" in done.stdout and "tracepoint:" not in done.stdout
    assert done.stderr.startswith("WARNING: mount tracefs: ") and COMMAND in done.stderr


@pytest.mark.parametrize("settings", [NONE, MAY_NOT], ids=["may mount", "may not"])
def test_doctor(place: Place, settings: dict[str, list[str]]) -> None:
    done = place.run("doctor", "-o", "json", **settings)
    told = json.loads(done.stdout)
    check = next(c for c in told["checks"] if c["name"] == "tracefs")
    works = settings is NONE
    assert (check["state"] == "ok") == works == told["probes"]["tracepoint"]["works"] == (done.returncode == 0)
    if works:
        assert "private mount" in check["value"]
    else:
        assert check["fix"] == told["probes"]["tracepoint"]["fix"] == COMMAND


def test_the_command_that_is_given_helps(place: Place) -> None:
    """Mounted by it (in the private mount namespace of the test), the same user traces."""
    command = COMMAND.removeprefix("sudo ")
    script = f'{command} && exec setpriv --bounding-set=-sys_admin "$@"'
    done = place.trace(TRACEPOINT, **NONE, wrap=["/bin/sh", "-c", script, "sh"])
    assert done.returncode == 0, done.stderr
