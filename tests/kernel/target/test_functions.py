"""Probes on kernel functions; most machines of CI lack them, the guests have them."""

from __future__ import annotations

import os
from struct import unpack

import pytest
from kernel.target.bytecode import KPROBE, TRACING, count_object

from osmia.errors import AttachError, NotSupported
from osmia.kernel import KernelTarget, probe_feature
from osmia.objects import AttachPoint

# Called once by every getppid(2); its name differs by architecture only.
FUNCTION = f"__{'x64' if os.uname().machine == 'x86_64' else 'arm64'}_sys_getppid"


def needs(feature: str) -> None:
    answer = probe_feature(feature)
    if not answer.supported:
        pytest.skip(f"{feature} is {answer.text} here")


def calls_counted(obj, point) -> int:
    with KernelTarget().load(obj) as loaded:
        loaded.attach(point)
        for _ in range(50):
            os.getppid()
            os.close(os.open("/dev/null", os.O_RDONLY))
        return unpack("<Q", loaded.maps["counts"].lookup(bytes(4)))[0]


@pytest.mark.parametrize("provider", ["kprobe", "kretprobe"])
def test_kprobe(provider):
    needs("kprobe_pmu")
    assert calls_counted(count_object(KPROBE), AttachPoint(provider, "count", function=FUNCTION)) >= 50


def test_kprobe_by_address():
    needs("kprobe_pmu")
    with open("/proc/kallsyms") as file:
        address = next(int(line.split()[0], 16) for line in file if line.split()[2] == FUNCTION)
    point = AttachPoint("kprobe", "count", function=FUNCTION, address=address)
    assert calls_counted(count_object(KPROBE), point) >= 50


@pytest.mark.parametrize("provider", ["kprobe", "kretprobe"])
def test_kprobe_multi(provider):
    needs("kprobe_multi")
    point = AttachPoint(provider, "count", functions=(FUNCTION, "do_sys_openat2"), cookies=(1, 2))
    assert calls_counted(count_object(KPROBE, 42), point) >= 50


@pytest.mark.parametrize(("provider", "attach_type"), [("fentry", 24), ("fexit", 25)])
@pytest.mark.parametrize("cookie", [0, 7])
def test_fentry(provider, attach_type, cookie):
    needs("fentry")
    # System call entries without arguments have no BTF, so another function than above.
    point = AttachPoint(provider, "count", function="do_sys_openat2", cookie=cookie)
    assert calls_counted(count_object(TRACING, attach_type, "do_sys_openat2"), point) >= 50


def test_unknown_kernel_functions():
    with pytest.raises(NotSupported, match="no_such_function"):
        KernelTarget().load(count_object(TRACING, 24, "no_such_function"))
    with KernelTarget().load(count_object(KPROBE)) as loaded:
        point = AttachPoint("kprobe", "count", function="no_such_function")
        if probe_feature("kprobe_pmu").supported:
            with pytest.raises(AttachError, match="no such function") as caught:
                loaded.attach(point)
            assert caught.value.errno == 2
        else:
            with pytest.raises(NotSupported) as refused:
                loaded.attach(point)
            assert refused.value.feature == "kprobe"
            assert "CONFIG_KPROBE_EVENTS" in refused.value.hint
