"""Types of kernel modules: their BTF is split, ids below its start are the kernel's."""

from __future__ import annotations

import pytest
from _checking import Probes, run

from osmia.btf import KIND_PTR, Btf, BtfBuilder
from osmia.lang.bpftrace.lower._layout import ValueTypes
from osmia.probes import Arg, Match


@pytest.fixture(scope="module")
def kernel():
    b = BtfBuilder()
    number = b.int("int", 4, signed=True)
    b.struct("inner", 8, [("a", number, 0), ("b", number, 32)])
    return Btf(b.build())


@pytest.fixture(scope="module")
def module(kernel):
    b = BtfBuilder(kernel)
    number = kernel.find("int")
    state = b.enum("state", [("SLEEPING", 1), ("AWAKE", 2)])
    part = b.struct("part", 4, [("x", number, 0)])
    parts = b.union("", 4, [("first", part, 0), ("second", part, 0)])
    members = [("of_kernel", kernel.find("inner"), 0), ("now", state, 64), ("", parts, 96), ("next", b.ptr(part), 128)]
    b.ptr(b.struct("thing", 24, members))
    return Btf(b.build(), kernel)


@pytest.fixture
def modules(monkeypatch, kernel, module):
    """A catalogue whose fentry:mod:f has an argument of a type of the module."""
    (argument,) = (i for i in module.ids(KIND_PTR) if module.type(i).type_id == module.find("thing"))
    monkeypatch.setattr(Probes, "btf", kernel)
    monkeypatch.setattr(Probes, "module_btf", lambda self, name: {"mod": module}.get(name), raising=False)

    def describe(self: Probes, match: Match) -> list[Arg]:
        return [Arg("t", "struct thing *", 0, 0, 8, False, module="mod", type_id=argument)]

    monkeypatch.setattr(Probes, "describe_args", describe)
    return kernel


def test_a_struct_prints_with_its_fields(modules):
    checked = run("fentry:mod:f { @ = *args.t; print(args.t.now); }", btf=modules)
    types = ValueTypes(checked, [])
    thing = types.of(checked.maps["@"].value)
    assert [(f.name, f.offset) for f in thing.fields] == [
        ("of_kernel", 0), ("now", 8), ("first", 12), ("second", 12), ("next", 16),
    ]  # fmt: skip
    inner, now, first = (f.type for f in thing.fields[:3])
    assert [f.name for f in inner.fields] == ["a", "b"]
    assert now.values == ((1, "SLEEPING"), (2, "AWAKE"))
    assert [f.name for f in first.fields] == ["x"]
