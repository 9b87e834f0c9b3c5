"""`osmia doctor`: what it says is what happens, under settings of the kernel that are shown to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import Any

import pytest
from _environment import CAPABILITIES, Place

from osmia.syscalls import kernel_config

LOCKDOWN = "/sys/kernel/security/lockdown"


def told(place: Place, **how: Any) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """(all that it says, its checks by name)."""
    done = place.run("doctor", "-o", "json", **how)
    whole = json.loads(done.stdout)
    assert done.returncode == (0 if whole["tracepoint_scripts"] else 1) and not done.stderr
    checks = {check["name"]: check for check in whole["checks"]}
    for check in checks.values():
        assert check["state"] in ("ok", "warn", "fail")
        assert check["state"] == "ok" or (check["meaning"] and check["fix"]), check
    for name, probe in whole["probes"].items():
        assert probe["works"] == (not probe["problem"])
        assert probe["works"] or probe["fix"], name
    for name, feature in whole["features"].items():
        assert feature["supported"] or feature["reason"], name
    return whole, checks


def sysctls(**values: int) -> dict[str, Any]:
    paths = {"kptr": "kernel/kptr_restrict", "paranoid": "kernel/perf_event_paranoid", "jit": "net/core/bpf_jit_enable"}
    return {"files": [[f"/proc/sys/{paths[name]}", f"{value}\n"] for name, value in values.items()]}


def test_all_that_it_tells(place: Place) -> None:
    begin = time.monotonic()
    whole, checks = told(place)
    assert time.monotonic() - begin < 5  # a tenth of it on a machine that has nothing else to do
    assert list(checks)[:4] == ["kernel", "kernel BTF", "tracefs", "bpffs"]
    assert set(CAPABILITIES) < set(checks)
    assert {"unprivileged_bpf_disabled", "perf_event_paranoid", "kptr_restrict", "lockdown", "JIT"} < set(checks)
    assert "llvmlite" in checks["LLVM"]["value"]
    assert whole["tracepoint_scripts"]
    assert {"begin", "tracepoint", "kprobe", "fentry", "uprobe", "iter"} < set(whole["probes"])


def test_text(place: Place) -> None:
    whole, checks = told(place)
    text = place.run("doctor").stdout
    assert text.startswith("osmia ") and text.endswith("\nScripts on tracepoints work here.\n")
    for name, check in checks.items():
        if name != "compile cache":
            assert f"] {name}: {check['value']}".rstrip() in text
    for name, probe in whole["probes"].items():
        assert probe["works"] or probe["problem"] in text, name
    for name, feature in whole["features"].items():
        assert name in text
        assert feature["supported"] or feature["reason"] in text


@pytest.mark.parametrize(
    ("kptr", "paranoid", "drop", "state"),
    [
        (0, 1, ["CAP_SYSLOG"], "ok"),
        (0, 2, ["CAP_SYSLOG"], "warn"),
        (0, 2, [], "ok"),
        (1, 2, [], "ok"),
        (1, 1, ["CAP_SYSLOG"], "warn"),
        (2, 1, [], "warn"),
    ],
)
def test_kernel_addresses(place: Place, kptr: int, paranoid: int, drop: list[str], state: str) -> None:
    _, checks = told(place, drop=drop, **sysctls(kptr=kptr, paranoid=paranoid))
    check = checks["kptr_restrict"]
    assert (check["value"], check["state"]) == (str(kptr), state)
    if state != "ok":
        assert ("cap_syslog" if drop else "kernel.kptr_restrict=1") in check["fix"]


def test_sysctls(place: Place) -> None:
    _, checks = told(place, keep=["CAP_BPF"], **sysctls(paranoid=3, jit=0))
    assert checks["perf_event_paranoid"]["state"] == "warn" and checks["JIT"]["state"] == "warn"
    _, checks = told(place, keep=["CAP_BPF", "CAP_PERFMON"], **sysctls(paranoid=3))
    assert "CAP_SYS_ADMIN" in checks["perf_event_paranoid"]["meaning"]
    _, checks = told(place, **sysctls(paranoid=3, jit=1))
    assert checks["perf_event_paranoid"]["state"] == checks["JIT"]["state"] == "ok"


@pytest.mark.parametrize("mode", ["none", "integrity", "confidentiality"])
def test_lockdown(place: Place, mode: str) -> None:
    text = " ".join(f"[{m}]" if m == mode else m for m in ("none", "integrity", "confidentiality"))
    _, checks = told(place, cover=["/sys/kernel/security"], files=[[LOCKDOWN, text + "\n"]])
    assert checks["lockdown"]["value"] == mode
    assert checks["lockdown"]["state"] == ("fail" if mode == "confidentiality" else "ok")


def test_no_compiler(place: Place) -> None:
    """Without llvmlite nothing can be compiled, so the main job does not work; what is compiled runs."""
    whole, checks = told(place, env={"PYTHONPATH": f"{place.folder}/src"})
    assert checks["LLVM"]["state"] == "fail" and checks["LLVM"]["fix"] == "pip install llvmlite"
    assert not whole["tracepoint_scripts"] and whole["probes"]["tracepoint"]["works"]
    done = place.trace("begin { @never[1] = 1; }", env={"PYTHONPATH": f"{place.folder}/src"})
    assert done.returncode == 1 and "load LLVM: " in done.stderr and "hint: pip install llvmlite" in done.stderr


def test_features_without_privileges(place: Place) -> None:
    """What cannot be asked is not called missing."""
    whole, _ = told(place, keep=[], uid=65534)
    assert whole["features"]["map_batch"]["supported"] is None
    assert "CAP_BPF" in whole["features"]["map_batch"]["reason"]
    done = place.run("doctor", "--features", keep=[], uid=65534)
    assert done.returncode == 0 and "program_type xdp cannot be asked for without privileges" in done.stdout


@pytest.mark.parametrize(
    "how",
    [{"keep": [], "uid": 65534}, {"keep": ["CAP_BPF"]}, {"keep": ["CAP_PERFMON"]}, {"drop": ["CAP_SYS_ADMIN"]}],
    ids=["nobody", "CAP_BPF", "CAP_PERFMON", "without CAP_SYS_ADMIN"],
)
def test_privileges_do_not_change_what_the_kernel_lacks(place: Place, how: dict[str, Any]) -> None:
    features = told(place)[0]["features"]
    poor = told(place, **how)[0]["features"]
    wrong = {n: f["reason"] for n, f in poor.items() if f["supported"] is False and features[n]["supported"]}
    assert not wrong


def test_what_cannot_be_told_takes_a_line_and_not_a_hundred(place: Place) -> None:
    text = place.run("doctor", keep=[], uid=65534).stdout
    assert 1 < text.count("could not tell") < 20
    assert "map_task_storage" in text


def test_lockdown_that_cannot_be_looked_up(place: Place) -> None:
    """Without securityfs nobody knows; with it, and without the file, the kernel has no lockdown."""
    _, checks = told(place, cover=["/sys/kernel/security"])
    assert checks["lockdown"]["value"].startswith("could not tell") and checks["lockdown"]["state"] == "warn"
    assert checks["lockdown"]["fix"] == "sudo mount -t securityfs none /sys/kernel/security"
    _, checks = told(place, cover=["/sys/kernel/security"], files=[["/sys/kernel/security/lsm", "capability,bpf"]])
    assert (checks["lockdown"]["value"], checks["lockdown"]["state"]) == ("none", "ok")


def test_options_that_the_kernel_has_are_not_said_to_lack(place: Place) -> None:
    """Whatever is not supported is put down to options that this kernel's configuration does not have."""
    config = kernel_config()
    if not config:
        pytest.skip("this kernel's configuration is not to be found")
    whole, _ = told(place)
    for name, feature in whole["features"].items():
        _, said, without = feature["reason"].partition("built without ")
        assert not said or all(config.get(option) not in ("y", "m") for option in without.split(", ")), name
    done = place.trace("fentry:vfs_read { @ = count(); }")
    if done.returncode and config.get("CONFIG_DYNAMIC_FTRACE") == config.get("CONFIG_FUNCTION_TRACER") == "y":
        assert "the kernel refused it (EPERM), and does not say why" in done.stderr
        assert "it was built with CONFIG_FUNCTION_TRACER, CONFIG_DYNAMIC_FTRACE; it may be " in done.stderr


def test_a_configuration_that_is_hidden(place: Place) -> None:
    whole, _ = told(place, bind=[["/dev/null", "/proc/config.gz"]], drop=["CAP_SYS_RESOURCE"])
    reasons = [f["reason"] for f in whole["features"].values() if "CONFIG_" in f["reason"]]
    assert reasons and all("configuration is not to be read" in text for text in reasons)


def test_what_is_refused_is_not_called_missing(place: Place) -> None:
    """A denial says nothing about types of programs: `ext` was not tried with a program to replace."""
    features = told(place)[0]["features"]
    for name in ("program_ext", "program_lsm"):
        assert features[name]["supported"] is not False, features[name]


@pytest.mark.parametrize(
    "held", [[], ["CAP_BPF"], ["CAP_PERFMON"], ["CAP_BPF", "CAP_PERFMON"], ["CAP_BPF", "CAP_NET_ADMIN"]]
)
def test_what_asking_takes_is_what_it_takes(place: Place, held: list[str]) -> None:
    """With just the capabilities that a reason names, there is an answer, or it says that the kernel refuses."""
    missing: dict[str, list[str]] = {}
    for name, feature in told(place, keep=held, uid=65534)[0]["features"].items():
        if feature["reason"].startswith("asking takes "):
            missing.setdefault(feature["reason"].removeprefix("asking takes "), []).append(name)
    for capabilities, names in missing.items():
        features = told(place, keep=[*held, *capabilities.split(", ")], uid=65534)[0]["features"]
        unclear = {n: features[n]["reason"] for n in names if features[n]["supported"] is None}
        assert all("refuses it" in why for why in unclear.values()), (capabilities, unclear)


def test_one_command_grants_all_that_is_missing(place: Place) -> None:
    text = place.run("doctor", keep=["CAP_BPF"], uid=65534).stdout
    (command,) = [line for line in text.splitlines() if "sudo capsh " in line]
    granted = command.partition("--inh=")[2].partition(" ")[0].upper().split(",")
    missing = {name for name in CAPABILITIES if f"[warn] {name}: missing" in text or f"[FAIL] {name}: missing" in text}
    assert missing and missing | {"CAP_BPF"} == set(granted)


def test_probe_types_that_scripts_have(place: Place) -> None:
    whole, _ = told(place)
    assert {"end", "self", "usdt"} < set(whole["probes"])


def test_ptrace_is_not_asked_for_where_it_is_not_needed(place: Place) -> None:
    """Since 6.15 CAP_PERFMON reads what processes of others map."""
    held = ["CAP_BPF", "CAP_PERFMON"]
    _, checks = told(place, keep=held, uid=65534)
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            reader = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=+perfmon", "--ambient-caps=+perfmon"]
            if not shutil.which("setpriv"):
                pytest.skip("needs setpriv (util-linux)")
            open_to_us = not subprocess.run([*reader, "cat", f"/proc/{other.pid}/maps"], capture_output=True).returncode
        finally:
            other.kill()
    assert (checks["CAP_SYS_PTRACE"]["value"] == "missing, but not needed here") == open_to_us
