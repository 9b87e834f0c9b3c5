"""Unit tests for BPF programs: load a script or an object in user space, make events happen, look at what it did.

    from osmia.testing import Vm

    with Vm("tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); }") as vm:
        vm.fire("tracepoint:syscalls:sys_enter_openat", {"filename": "/etc/passwd"})
        assert dict(vm.maps["@"]) == {"/etc/passwd": 1}

No root, no kernel: the program is verified, and runs on a machine with a clock, a task and memory of its own. The
pytest plugin `osmia.testing.plugin` gives tests a fixture, `osmia_vm`, and collects coverage.
"""

from __future__ import annotations

from ._vm import Verification, Vm

__all__ = ["Verification", "Vm"]
