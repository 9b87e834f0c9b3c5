"""Trace a process with the ptrace source and count what it fires: a program of its own, so that it can run as anybody.

    _ptrace_driver.py '{"pid": 1234, "hooks": ["tracepoint:syscalls:sys_enter_openat", "uprobe:/bin/x:main"]}'

`cmd` in place of `pid` starts a command, held before its exec as a session does. Prints `{"tracing": PID}` when all is
attached, and at the end (of the process, or of standard input) a JSON object: `counts` by hook, `records` of the hooks
in `keep` as [pid, tgid, comm, uid, record in hex, address, extra].
"""

from __future__ import annotations

import collections
import json
import os
import select
import struct
import sys
import time

from osmia.elf import open_elf
from osmia.errors import OsmiaError
from osmia.objects import AttachPoint
from osmia.session._child import Child
from osmia.vm._sources import key_of
from osmia.vm._sources_ptrace import PtraceSource
from osmia.vm._sources_ptrace_task import state_of


def point_of(text: str) -> AttachPoint:
    provider, target, name = [*text.split(":"), "", ""][:3]
    if provider == "profile":
        return AttachPoint(provider=provider, program="p", name=text, frequency=int(name))
    if provider in ("uprobe", "uretprobe"):
        with open_elf(target) as file:
            symbol, _, extra = name.partition("+")
            found = file.find_symbol(symbol)
            assert found is not None, text
            offset = file.addr_to_offset(found.value) + int(extra or "0")
        return AttachPoint(provider=provider, program="p", name=text, target=target, function=name, offset=offset)
    return AttachPoint(provider=provider, program="p", name=text, target=target, function=name)


class Hook:
    def __init__(self, text, owner):
        self.point = point_of(text)
        self.text = text
        self.owner = owner
        self.how = owner.keep.get(text)

    def fire(self, record, task=None, *, address=0, at=""):
        self.owner.counts[self.text] += 1
        if self.how is not None:
            extra = None
            if self.how.startswith("string"):  # of the pointer at that offset of the record
                (pointer,) = struct.unpack_from("<Q", record, int(self.how[6:]))
                extra = task.process.read_string(pointer, 200).decode(errors="replace")
            elif self.how == "frames":
                extra = task.process.frames(16)
            self.owner.records.append(
                [self.text, task.pid, task.tgid, task.name.decode(), task.uid, record.hex(), address, extra]
            )
        return 0


class Hooks:
    def __init__(self, texts, keep):
        self.counts = collections.Counter()
        self.records = []
        self.keep = keep
        self.error = ""
        self.attached = [Hook(text, self) for text in texts]

    def hooks_at(self, key):
        return [hook for hook in self.attached if key_of(hook.point) == key]

    def fail(self, error):
        import traceback

        self.error = "".join(traceback.format_exception(error))


def stop_late(source, pid):
    """In the tracing thread: stop once the process has stopped at something that nobody has looked at."""
    print(json.dumps({"held": True}), flush=True)
    deadline = time.monotonic() + 30
    while state_of(pid) != "t" and time.monotonic() < deadline:
        time.sleep(0.001)
    source._quiet()


def main():
    wanted = json.loads(sys.argv[1])
    hooks = Hooks(wanted["hooks"], wanted.get("keep", {}))
    child = Child(wanted["cmd"]) if "cmd" in wanted else None
    pid = child.pid if child else wanted["pid"]
    source = PtraceSource(filtered=wanted.get("filtered", True))
    try:
        source.start(hooks, pid)
    except OsmiaError as error:
        print(json.dumps({"error": error.message, "hint": error.hint, "type": type(error).__name__}), flush=True)
        os._exit(1)
    native = source._loop.native is not None
    print(json.dumps({"tracing": pid}), flush=True)
    if child:
        child.release()
    followed = wanted.get("descendants", True)
    while True:
        if child and child.poll() and not (followed and source.traced):
            break
        if not child and not source.traced:
            break
        if select.select([0], [], [], 0.01)[0] and not os.read(0, 100):
            break
        if hooks.error:
            break
    began = time.monotonic()
    if wanted.get("late"):
        source._call(lambda: stop_late(source, pid))
    source.stop()
    stopped = time.monotonic() - began
    time.sleep(0.02)  # were anything fired now, it would be counted
    done = {"counts": hooks.counts, "records": hooks.records, "error": hooks.error, "stop_s": stopped, "native": native}
    print(json.dumps({**done, "warnings": source.warnings, "status": child.status if child else None}), flush=True)
    if wanted.get("linger"):
        os.read(0, 1)
    os._exit(0)


main()
