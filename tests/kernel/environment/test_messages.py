"""What people read when something is wrong, all in one file, so that a change to any of it is seen.

messages.txt is what the commands below say; OSMIA_REWRITE_MESSAGES=1 writes it anew, for a look at the difference.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from _environment import NOBODY, TRACEFS_MOUNTS, Place

GOLDEN = Path(__file__).with_name("messages.txt")
TRACING = ["CAP_BPF", "CAP_PERFMON"]
NO_TRACEFS = {"unmount": [*TRACEFS_MOUNTS, "/sys/kernel/debug"], "drop": ["CAP_SYS_ADMIN"]}
NO_BTF = {"cover": ["/sys/kernel/btf"]}
POOR = {"keep": [], "uid": NOBODY}
BEGIN = "begin { @a = 1; }"
TIMER = "interval:s:9 { @ = count(); }"
TRACEPOINT = "tracepoint:syscalls:sys_enter_getppid { @ = count(); }"
UPROBE = "uprobe:libc:getppid { @ = count(); }"

# (what is wrong, the command, how it is started)
CASES: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
    ("no such command", ["trcae"], {}),
    ("a script for a command", ["no.bt"], {}),
    ("no such option", ["trace", "--ouput", "json"], {}),
    ("a negative argument", ["trace", "-e", BEGIN, "-5"], {}),
    ("an option of the script's", ["trace", "-e", BEGIN, "--dur=1"], {}),
    ("an option without its value", ["trace", "-e"], {}),
    ("no such format", ["trace", "-o", "jsn", "-e", BEGIN], {}),
    ("no script", ["trace"], {}),
    ("no such script", ["trace", "/none.bt"], {}),
    ("a folder as script", ["trace", "/etc"], {}),
    ("a script that may not be read", ["trace", "/etc/shadow"], POOR),
    ("a binary as script", ["trace", "/bin/cat"], {}),
    ("an empty script", ["trace", "/dev/null"], {}),
    ("no process", ["trace", "-p", "x", "-e", BEGIN], {}),
    ("a process that is not", ["trace", "-p", "4194304", "-e", BEGIN], {}),
    ("a command that is not", ["trace", "-c", "/none", "-e", BEGIN], {}),
    ("no place for output", ["trace", "--output-file", "/none/x", "-e", BEGIN], {}),
    ("closed output", ["version"], {"close": [1]}),
    ("no object file", ["run", "/none.o"], {}),
    ("no ELF file", ["run", "/etc/passwd"], {}),
    ("no place for the object", ["build", "-o", "/none/x", "-e", BEGIN], {}),
    ("no such provider", ["list", "tracepont:*"], {}),
    ("no such file", ["list", "uprobe:/none:*"], {}),
    ("nothing to list", ["list", "tracepoint:sched:sched_swich*"], {}),
    ("nothing of what is nowhere to list", ["list", "begin"], {}),
    ("no such type", ["list", "enum TCP_CA_CWR"], {}),
    ("a type for a probe", ["list", "sockaddr_in"], {}),
    ("no privilege", ["trace", "-e", TIMER], POOR),
    ("no CAP_BPF", ["trace", "-e", BEGIN], {"keep": ["CAP_PERFMON"]}),
    ("no CAP_PERFMON", ["trace", "-e", TIMER], {"keep": ["CAP_BPF"]}),
    (
        "no CAP_DAC_READ_SEARCH, others held",
        ["trace", "-e", TRACEPOINT],
        {"keep": [*TRACING, "CAP_SYS_ADMIN"], "uid": NOBODY},
    ),
    ("a second script", ["trace", "-e", BEGIN, "-e", BEGIN], {}),
    ("no such function", ["trace", "-e", "kprobe:nosuch_function { }"], {}),
    ("a file that is not", ["trace", "-e", "uprobe:/none:f { @ = count(); }"], {}),
    (
        "a file that may not be read",
        ["trace", "-e", "uprobe:/etc/shadow:f { @ = count(); }"],
        {"keep": TRACING, "uid": NOBODY},
    ),
    ("a traced process that is not", ["trace", "-p", "4194304", "-e", UPROBE], {}),
    ("tracefs is root's", ["trace", "-e", TRACEPOINT], {"keep": TRACING, "uid": NOBODY}),
    ("tracefs is root's, to list", ["list", "tracepoint:sched:*"], POOR),
    ("no tracefs", ["trace", "-e", TRACEPOINT], NO_TRACEFS),
    ("no tracefs, to list", ["list", "tracepoint:sched:*"], NO_TRACEFS),
    ("no BTF", ["trace", "--no-cache", "-e", "iter:task { @ = count(); }"], NO_BTF),
    ("no BTF, for a field", ["trace", "--no-cache", "-e", "begin { print(curtask->pid); }"], NO_BTF),
    ("no BTF, to list", ["list", "iter:*"], NO_BTF),
    ("a cache that others can write", ["trace", "-q", "--dry-run", "-e", BEGIN], {"env": {"OSMIA_CACHE_DIR": "/tmp"}}),
    ("a cache that is no folder", ["trace", "-q", "--dry-run", "-e", BEGIN], {"env": {"OSMIA_CACHE_DIR": "/dev/null"}}),
    ("no home", ["trace", "-q", "--dry-run", "-e", BEGIN], {"uid": 4242, "keep": TRACING, "env": {"HOME": None}}),
    ("no compiler", ["trace", "--no-cache", "-e", BEGIN], {"env": {"PYTHONPATH": "SRC"}}),
    ("few files", ["trace", "-e", BEGIN], {"limits": {"RLIMIT_NOFILE": 7}}),
    ("huge maps", ["trace", "-e", "config = { max_map_keys = 4000000000 } begin { @x[pid] = count(); }"], {}),
    ("too fast", ["trace", "-e", "profile:hz:99999999 { @ = count(); }"], {}),
    ("many probes", ["trace", "-e", "uprobe:/bin/bash:* { @ = count(); }"], {"env": {"BPFTRACE_MAX_PROBES": "3"}}),
    ("no such tracepoint", ["trace", "-e", "tracepoint:sched:sched_swich { @ = count(); }"], {}),
    ("no such function", ["trace", "-e", "uprobe:libc:mallok { @ = count(); }"], {}),
    ("no such event", ["trace", "-e", "software:page-fault:1 { @ = count(); }"], {}),
    ("no such member", ["trace", "-e", "begin { print(curtask->pidd); }"], {}),
    ("no such map", ["trace", "-e", "begin { @abc = 1; print(@abd); }"], {}),
    ("a type error", ["trace", "-e", 'begin { @a = 1; @a = "x"; }'], {}),
    ("what the shell took", ["trace", "-e", "begin { @[] = 1; }"], {}),
    ("a syntax error", ["trace", "-e", "begin { print(1; }"], {}),
    ("what may harm", ["trace", "-e", 'begin { system("true"); }'], {}),
)

# What differs from machine to machine.
VARIES = (
    (r"/\S*/libc\.so\.6", "LIBC"),
    (r"\d+ probes because", "N probes because"),
    (r", and kernel\.unprivileged_bpf_disabled is \d", ""),
    (r"^osmia: .*: too many open files$", "osmia: open SOMETHING: too many open files"),
)


def test_messages(place: Place) -> None:
    parts = []
    for what, words, how in CASES:
        if how.get("env", {}).get("PYTHONPATH"):
            how = {"env": {"PYTHONPATH": f"{place.folder}/src"}}
        done = place.run(*words, **how)
        assert "Traceback" not in done.stderr and "internal error" not in done.stderr, (what, done.stderr)
        text = done.stderr.replace(str(place.folder), "FOLDER")
        for pattern, shown in VARIES:
            text = re.sub(pattern, shown, text, flags=re.M)
        parts.append(f"## {what}\n$ osmia {' '.join(words)}\n{text}-> {done.returncode}\n")
    found = "\n".join(parts)
    if os.environ.get("OSMIA_REWRITE_MESSAGES"):
        GOLDEN.write_text(found)
    wanted = GOLDEN.read_text()
    difference = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "messages.txt", "now", lineterm="")
    assert found == wanted, "\n".join(difference)


def test_their_form() -> None:
    """ "verb object: cause", in lower case, without a full stop; what to do next stands in a line of its own."""
    text = GOLDEN.read_text()
    messages = re.findall(r"^osmia: (.*)$", text, re.M)
    assert len(messages) > 30
    for message in messages:
        assert re.match(r"[a-z]+( \S.*)?: .*[^.]$", message), message
    for hint in re.findall(r"^hint: (.*)$", text, re.M):
        assert hint and not hint.endswith("."), hint
