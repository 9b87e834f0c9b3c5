"""Capabilities dropped one by one: a probe type that needs one says which, and the command it gives helps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _environment import CAPABILITIES, NOBODY, Place, refused
from _workloads import MissingTool, build

from osmia.kernel import probe_feature

TRACING = ["CAP_BPF", "CAP_PERFMON"]
# Probe type -> a script with it. All of them run on this project's test kernels, with everything held.
SCRIPTS = {
    "begin": "begin { @a = 1; exit(); }",
    "interval": "interval:s:9 { @ = count(); }",
    "profile": "profile:hz:9 { @[kstack] = count(); }",
    "software": "software:cpu-clock:1000000000 { @ = count(); }",
    "tracepoint": "tracepoint:syscalls:sys_enter_getppid { @[comm] = count(); }",
    "rawtracepoint": "rawtracepoint:sched_process_exec { @ = count(); }",
    "fields": "rawtracepoint:sched_switch { @ = args.prev.pid; }",
    "uprobe": "uprobe:libc:getppid { @ = count(); }",
    "watchpoint": "watchpoint:0x10000000:8:w { @ = count(); }",
    "iter": "iter:task { @ = count(); }",
}
# perf's uprobes take CAP_SYS_ADMIN, multi links (Linux 6.6) do not.
UPROBES_TAKE_MORE = not probe_feature("uprobe_multi").supported
# What is missing -> the probe types that do not work without. As root otherwise, so tracefs is readable.
NEEDED = {
    "CAP_BPF": (),  # CAP_SYS_ADMIN stands for it
    "CAP_PERFMON": (),
    "CAP_SYS_ADMIN": ("uprobe",) if UPROBES_TAKE_MORE else (),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_one_by_one(place: Place, capability: str) -> None:
    """Only what needs the capability fails without it, and its message names it."""
    for name, script in SCRIPTS.items():
        done = place.trace(script, drop=[capability])
        if name in NEEDED.get(capability, ()):
            assert f"{capability} is missing" in refused(done), name
        else:
            assert done.returncode == 0, (name, done.stderr)


@pytest.mark.parametrize("held", ["CAP_BPF", "CAP_PERFMON"])
def test_one_of_the_two_is_not_enough(place: Place, held: str) -> None:
    (missing,) = set(TRACING) - {held}
    for script in (SCRIPTS["begin"], SCRIPTS["tracepoint"], SCRIPTS["interval"]):
        text = refused(place.trace(script, keep=[held]))
        assert f"{missing} is missing" in text
        assert (
            f"hint: run it with sudo, or grant it: sudo capsh --keep=1 --user=$USER --inh={','.join(TRACING).lower()} "
            in text
        )


def test_the_two_suffice(place: Place) -> None:
    """Where tracefs can be read (as root's user it can)."""
    for name, script in SCRIPTS.items():
        done = place.trace(script, keep=TRACING)
        if name == "uprobe" and UPROBES_TAKE_MORE:
            assert "attach uprobe:" in refused(done) and "CAP_SYS_ADMIN is missing" in done.stderr
        else:
            assert done.returncode == 0, (name, done.stderr)


def test_an_ordinary_user_with_the_two(place: Place) -> None:
    for name, script in SCRIPTS.items():
        done = place.trace(script, keep=TRACING, uid=NOBODY)
        if name == "uprobe" and UPROBES_TAKE_MORE:
            assert "CAP_SYS_ADMIN is missing" in refused(done)
        elif name == "tracepoint":
            assert done.returncode == 1 and "Traceback" not in done.stderr
            assert "open /sys/kernel/tracing: CAP_DAC_READ_SEARCH is missing" in done.stderr
            assert "cap_dac_read_search" in done.stderr
        else:
            assert done.returncode == 0, (name, done.stderr)
    assert place.trace(SCRIPTS["tracepoint"], keep=[*TRACING, "CAP_DAC_READ_SEARCH"], uid=NOBODY).returncode == 0


def test_an_ordinary_user_without_any(place: Place) -> None:
    for name, script in SCRIPTS.items():
        if name != "tracepoint":
            text = refused(place.trace(script, keep=[], uid=NOBODY))
            assert "CAP_BPF is missing" in text, name


def test_what_needs_no_privilege(place: Place) -> None:
    """Compiling, listing what is no secret, help."""
    nobody = {"keep": [], "uid": NOBODY}
    out = place.home(NOBODY) + "/a.bpf.o"
    assert place.run("build", "-o", out, "-e", SCRIPTS["interval"], **nobody).returncode == 0
    done = place.run("run", out, **nobody)
    assert "CAP_BPF is missing" in refused(done)
    done = place.run("list", "fentry:vfs_rea*", **nobody)
    assert done.returncode == 0 and "fentry:vmlinux:vfs_read\n" in done.stdout
    done = place.run("list", "tracepoint:sched:*", **nobody)
    assert "CAP_DAC_READ_SEARCH is missing" in refused(done)
    done = place.run("list", "*vfs_readv*", **nobody)
    assert done.returncode == 0 and "kprobe:vfs_readv" in done.stdout
    assert done.stderr.startswith("WARNING: open /sys/kernel/tracing: CAP_DAC_READ_SEARCH is missing; not all probes")


@pytest.mark.parametrize("name", ["interval", "tracepoint", "uprobe"])
def test_the_command_that_is_given_helps(place: Place, name: str) -> None:
    """The hint, typed by that user, gives a shell in which the script runs."""
    if not shutil.which("capsh"):
        pytest.skip("needs capsh (libcap2-bin)")
    held = TRACING if name == "tracepoint" else []
    done = place.trace(SCRIPTS[name], keep=held, uid=NOBODY)
    assert done.returncode == 1
    hint = next(line for line in done.stderr.splitlines() if "capsh" in line)
    command = hint[hint.index("sudo capsh") :].removeprefix("sudo ").replace("$USER", "nobody")
    script = f"""exec {command} -c 'exec "$@"' shell "$@" """
    done = place.trace(SCRIPTS[name], wrap=["/bin/sh", "-c", script, "sh"])
    assert done.returncode == 0, (command, done.stderr)


@pytest.mark.parametrize("keep", [[], ["CAP_BPF"], ["CAP_PERFMON"], TRACING], ids=",".join)
def test_doctor_tells_the_same(place: Place, keep: list[str]) -> None:
    """Its probe types work exactly where a script with them does."""
    for uid in (0, NOBODY):
        told = json.loads(place.run("doctor", "-o", "json", keep=keep, uid=uid).stdout)
        for name, probe in told["probes"].items():
            if name in SCRIPTS:
                done = place.trace(SCRIPTS[name], keep=keep, uid=uid)
                assert probe["works"] == (done.returncode == 0), (uid, name, probe, done.stderr)
                assert probe["works"] or probe["fix"]
        assert told["tracepoint_scripts"] == told["probes"]["tracepoint"]["works"]
        held = {c["name"]: c["value"] == "held" for c in told["checks"] if c["name"].startswith("CAP_")}
        assert {name for name, is_held in held.items() if is_held} == set(keep)


def test_nothing_is_half_attached(place: Place) -> None:
    """The first probe can be attached, the second not; the leak check of this folder looks for what stays."""
    unaligned = "watchpoint:0x10000001:8:w { @ = count(); }"
    script = SCRIPTS["interval"] + SCRIPTS["rawtracepoint"] + SCRIPTS["uprobe"] + unaligned + "end { @e = 1; }"
    assert "the processor cannot watch this" in refused(place.trace(script, keep=TRACING))


def test_tracefs_is_a_matter_of_its_own_capability(place: Place) -> None:
    """Neither another capability that is missing, nor lockdown, is to blame; the command keeps what was granted."""
    for mode in ("", "none [integrity] confidentiality"):
        shown: dict[str, Any] = {}
        if mode:
            shown = {"cover": ["/sys/kernel/security"], "files": [["/sys/kernel/security/lockdown", mode]]}
        for more in ([], ["CAP_SYS_ADMIN"], ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]):
            done = place.trace(SCRIPTS["tracepoint"], keep=[*TRACING, *more], uid=NOBODY, **shown)
            assert done.returncode == 1
            assert "open /sys/kernel/tracing: CAP_DAC_READ_SEARCH is missing" in done.stderr
            granted = ",".join([*TRACING, *more, "CAP_DAC_READ_SEARCH"]).lower()
            assert f"--inh={granted} " in done.stderr and "locked" not in done.stderr


@pytest.mark.skipif(UPROBES_TAKE_MORE, reason="needs uprobe_multi (Linux 6.6)")
def test_user_probes_without_sys_admin(place: Place) -> None:
    """One function, its return, a pattern that finds one: all by multi links; counts are right."""
    command = f"{sys.executable} -c 'import os; [os.getppid() for _ in range(40)]'"
    for probe in ("uprobe:libc:getppid", "uretprobe:libc:getppid", "uprobe:libc:getppi*"):
        done = place.run("trace", "-q", "-c", command, "-e", probe + " { @ = count(); }", keep=TRACING)
        assert (done.returncode, done.stdout.strip()) == (0, "@: 40"), (probe, done.stderr)


@pytest.mark.skipif(UPROBES_TAKE_MORE, reason="needs uprobe_multi (Linux 6.6)")
def test_usdt_probes_without_sys_admin(place: Place, tmp_path: Path) -> None:
    """With a semaphore, which the multi link has to raise."""
    try:
        program = build("usdt.c", tmp_path)
    except MissingTool as missing:
        pytest.skip(str(missing))
    gate = tmp_path / "gate"
    gate.write_text("\n")
    command = f"sh -c 'exec {program} 3 < {gate}'"
    script = f"usdt:{program}:osmia_test:request {{ @ = count(); }}"
    done = place.run("trace", "-q", "-c", command, "-e", script, keep=TRACING)
    assert done.returncode == 0 and "@: 3\n" in done.stdout and '"enabled": 3' in done.stdout, done.stderr


def test_addresses_without_names(place: Place) -> None:
    """Without CAP_SYSLOG stacks are numbers: no error, and one line that says why. Not where none is shown."""
    script = "profile:hz:49 { @[kstack] = count(); }"
    done = place.run("trace", "--duration", "0.3", "-e", script, keep=TRACING)
    assert done.returncode == 0 and "osmia: " not in done.stderr
    told = "WARNING: kernel addresses stay numbers, since /proc/kallsyms hides them: CAP_SYSLOG is missing (run"
    numbers = "        0x" in done.stdout
    said = done.stderr.count(told)
    assert said == 1 if numbers else said <= 1, done.stdout + done.stderr  # a stack may be empty
    for script, how in (
        ("profile:hz:49 { @[kstack] = count(); }", {"keep": [*TRACING, "CAP_SYSLOG"]}),
        (SCRIPTS["interval"], {"keep": TRACING}),
    ):
        done = place.run("trace", "--duration", "0.3", "-e", script, **how)
        assert done.returncode == 0 and "kallsyms" not in done.stderr


def test_setpriv_and_ours_agree(place: Place) -> None:
    """The test's own way of dropping is the system's: setpriv gives the same answer."""
    tool = shutil.which("setpriv")
    if not tool:
        pytest.skip("needs setpriv (util-linux)")
    done = place.trace(SCRIPTS["begin"], wrap=[tool, "--bounding-set=-bpf,-sys_admin"])
    if "unknown capability" in done.stderr:
        pytest.skip("this setpriv does not know CAP_BPF")
    assert isinstance(done, subprocess.CompletedProcess)
    assert "CAP_BPF is missing" in refused(done)
