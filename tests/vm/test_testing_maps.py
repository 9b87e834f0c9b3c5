"""Filling maps and setting variables of a program under test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from vm._testing_program import SOURCE

from osmia.errors import MapError, NotSupported, ObjectError, UsageError
from osmia.objects import Object
from osmia.testing import Vm

Make = Callable[..., Vm]
needs_clang = pytest.mark.skipif(not shutil.which("clang"), reason="needs clang, which builds the programs")
KEY = {"saddr": "10.0.0.1", "dport": 0x5000, "proto": 6}
PACKET = bytes(64)
USED = ["flows", "networks", "cpus", "first", "second", "nested", "forward", "number", "take"]


@pytest.fixture(scope="module")
def obj(tmp_path_factory: pytest.TempPathFactory) -> Object:
    from osmia.testing._clang import compile_c

    path = tmp_path_factory.mktemp("program") / "program.c"
    path.write_text(SOURCE)
    return compile_c(str(path))


@pytest.fixture
def vm(osmia_vm: Make, obj: Object) -> Vm:
    return osmia_vm(obj, programs=USED, cpus=3)


def verdict(vm: Vm, program: str) -> int:
    return vm.run(PACKET, program=program).verdict


@needs_clang
@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_structs_by_name(osmia_vm: Make, obj: Object, engine: str) -> None:
    vm = osmia_vm(obj, programs=["flows"], engine=engine)
    assert verdict(vm, "flows") == 8  # nobody matches: only + bonus
    rules = vm.maps["rules"]
    rules[KEY] = {"mac": "02:00:00:00:00:07", "port": 200, "low": 5, "high": 9, "via": "fe80::1", "name": "web"}
    assert verdict(vm, "flows") == 7 + 200 + 5 + 90
    (key,) = rules
    assert (
        rules[KEY]
        == rules[key]
        == rules[IPv4Address("10.0.0.1").packed + bytes([0, 0, 0, 0, 0, 0, 0, 0x50, 6] + [0] * 3)]
    )
    assert (rules[key].name, rules[key].via.bytes[15], rules[key].mac) == ("web", 1, (2, 0, 0, 0, 0, 7))
    rules[key] = rules[key]  # what reading gives can be written
    assert verdict(vm, "flows") == 302
    assert KEY in rules and {**KEY, "proto": 17} not in rules
    del rules[KEY]
    assert len(rules) == 0 and verdict(vm, "flows") == 8
    with pytest.raises(KeyError):
        del rules[KEY]


@needs_clang
@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ({"sadr": 1}, {}, r"rules: key: it has no member 'sadr' \(did you mean 'saddr'"),
        (KEY, {"prt": 1}, r"value: it has no member 'prt' \(did you mean 'port'"),
        (KEY, {"port": 1 << 16}, r"value.port: 65536 is not from 0 to 65535"),
        (KEY, {"port": -1}, "value.port: -1 is not from"),
        (KEY, {"low": 8}, "value.low: 8 is not from 0 to 7"),
        (KEY, {"mac": "02:00"}, "value.mac: '02:00' is no MAC"),
        (KEY, {"mac": [1, 2]}, r"value.mac: 2 elements, it has 6"),
        (KEY, {"via": "10.0.0.1"}, "value.via: cannot read '10.0.0.1' as an IPv6 address"),
        (KEY, {"name": "12345678"}, "there is room for 7"),
        (KEY, {"hits": "many"}, "value.hits: 'many' is str"),
        (5, {}, r"key: 5 is int \(struct flow takes a dict"),
        (KEY, 5, r"value: 5 is int \(struct rule takes a dict"),
        (KEY, b"123", "value: 3 bytes, it has 48"),
        ((1, 2), {}, "key: 2 values, it has 5 members"),
        ({**KEY, "saddr": "10.0.0"}, {}, "key.saddr: cannot read '10.0.0' as an IPv4 address"),
    ],
)
def test_what_does_not_fit_is_refused(vm: Vm, key: object, value: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        vm.maps["rules"][key] = value
    assert len(vm.maps["rules"]) == 0


@needs_clang
def test_errors_of_the_map(vm: Vm) -> None:
    rules, numbers = vm.maps["rules"], vm.maps["numbers"]
    rules.update({(1, 1, 1, 1, 1): {}, (2, 2, 2, 2, 2): {"hits": 1 << 63}})
    with pytest.raises(MapError, match="it is full") as caught:
        rules[3, 3, 3, 3, 3] = {}
    assert caught.value.errno == 7
    with pytest.raises(MapError, match=r"there is no 4 \(an array of 4 has 0 to 3\)"):
        numbers[4] = 1
    with pytest.raises(UsageError, match="'a' is str"):
        numbers["a"] = 1
    with pytest.raises(UsageError, match="elements of an array stay"):
        del numbers[1]
    with pytest.raises(KeyError, match=r"did you mean 'rules'\?"):
        _ = vm.maps["rule"]
    with pytest.raises(KeyError):
        _ = rules[{"saddr": "nowhere"}]
    with pytest.raises(UsageError, match=r"list is no dict \(give \{key: value"):
        rules.update([])
    with pytest.raises(UsageError, match=r"\{\} is no program of the object"):
        vm.maps["jumps"][0] = {}
    numbers[3] = 77
    assert verdict(vm, "number") == 77 and dict(numbers) == {3: 77}


@needs_clang
def test_prefix_trees(vm: Vm) -> None:
    nets = vm.maps["nets"]
    nets["10.0.0.0/8"] = 1
    nets["10.1.2.0/24"] = 2
    nets[16, "10.9.0.0"] = 3
    assert verdict(vm, "networks") == 2
    assert (nets["10.200.0.1"], nets["10.9.9.9"], "11.0.0.1" in nets) == (1, 3, False)
    del nets["10.1.2.0/24"]
    assert verdict(vm, "networks") == 1
    vm.maps["nets6"]["2001:db8::/32"] = 9
    assert vm.maps["nets6"]["2001:db8::1"] == 9
    for wrong in ("10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "x", "10.0.0/8"):
        with pytest.raises(UsageError, match="is no network"):
            nets[wrong] = 1
    with pytest.raises(UsageError, match="needs a key of 20 bytes"):
        nets["::/0"] = 1


@needs_clang
def test_a_value_for_each_cpu(vm: Vm) -> None:
    counts, each = vm.maps["counts"], vm.maps["each"]
    counts[1] = 5
    counts[1] += 1
    assert counts[1] == 6 and verdict(vm, "cpus") == 6  # on CPU 0, where programs run
    counts[1] = [1, 2, 3]
    assert counts.per_cpu(1) == [1, 2, 3]
    assert counts[1] == 6 and verdict(vm, "cpus") == 1
    each[1] = [{"port": 2}]
    assert [copy.port for copy in each[1]] == [copy.port for copy in each.per_cpu(1)] == [2, 0, 0] and verdict(
        vm, "cpus"
    ) == 201
    each[1] = each[1]
    assert verdict(vm, "cpus") == 201
    with pytest.raises(UsageError, match=r"one for each CPU \(give a list"):
        each[1] = {"port": 1}
    with pytest.raises(UsageError, match="4 values, there are 3 CPUs"):
        counts[1] = [1, 2, 3, 4]
    with pytest.raises(UsageError, match=r"value\[1\].port: 'x' is str"):
        each[1] = [{}, {"port": "x"}]


def test_parts_of_cpus(osmia_vm: Make) -> None:
    probe = "tracepoint:syscalls:sys_enter_read"
    vm = osmia_vm(
        probe + " { @c[1] = count(); @s = sum(args.fd); @h = hist(args.fd); @m = max(args.fd); @one[1] = 5; @n += 1; }"
        "interval:s:1 { @unset = count(); }",
        cpus=3,
    )
    for cpu, fd in ((0, 3), (2, 4), (2, 5)):
        vm.fire(probe, {"fd": fd}, cpu=cpu)
    vm.close()
    maps = vm.maps
    assert maps["@c"].per_cpu(1) == [1, 0, 2]
    assert maps["@s"].per_cpu() == [3, 0, 9]
    assert maps["@m"].per_cpu() == [3, 0, 5]
    assert [part.total for part in maps["@h"].per_cpu()] == [1, 0, 2]
    assert maps["@unset"].per_cpu() == []
    for name, key in (("@one", 1), ("@n", None)):
        with pytest.raises(UsageError, match=f"read map {name} by CPU: it has one value for all"):
            maps[name].per_cpu(key)
    with pytest.raises(KeyError):
        maps["@c"].per_cpu(2)
    with pytest.raises(UsageError, match="read keys of map @s: it has none"):
        maps["@s"].per_cpu(1)


@needs_clang
def test_programs_and_maps_as_elements(vm: Vm) -> None:
    assert verdict(vm, "first") == 0
    vm.maps["jumps"][1] = "second"
    assert verdict(vm, "first") == 42 and dict(vm.maps["jumps"]) == {1: "second"}
    del vm.maps["jumps"][1]
    assert verdict(vm, "first") == 0
    with pytest.raises(UsageError, match=r"'secnd' is no program of the object \(did you mean 'second'"):
        vm.maps["jumps"][1] = "secnd"

    assert verdict(vm, "nested") == 0
    tables = vm.maps["tables"]
    tables[5] = {5: 11, 6: 12}
    assert verdict(vm, "nested") == 11 and tables[5][6] == 12
    tables[5][5] = 13
    assert verdict(vm, "nested") == 13
    vm.maps["one"][5] = 14
    for named in ("one", vm.maps["one"]):
        tables[5] = named
        assert verdict(vm, "nested") == 14 and tables[5] is vm.maps["one"]
    with pytest.raises(UsageError, match="is no map of the object"):
        tables[5] = "none"
    with pytest.raises(MapError):
        tables[5] = "rules"

    for name, value in (("jumps", "second"), ("ports", 9)):
        entries = vm.maps[name]._map.max_entries  # type: ignore[attr-defined]
        with pytest.raises(MapError, match=rf"key: there is no 99 \(an array of {entries} has 0 to {entries - 1}\)"):
            vm.maps[name][99] = value

    vm.maps["ports"][2] = 9
    assert vm.run(PACKET, program="forward").name == "REDIRECT" and dict(vm.maps["ports"]) == {2: 9}


@needs_clang
def test_a_queue_is_filled_and_emptied(vm: Vm) -> None:
    pool = vm.maps["pool"]
    assert verdict(vm, "take") == 0
    pool.push(30)
    pool.push(40)
    with pytest.raises(MapError, match="it is full"):
        pool.push(50)
    with pytest.raises(UsageError, match="65536 is not from 0 to 65535"):
        pool.push(65536)
    assert verdict(vm, "take") == 30 and pool.pop() == 40 and pool.pop() is None
    for read in (dict, len, lambda m: m.value, lambda m: m[0]):
        with pytest.raises(UsageError, match="read"):
            read(pool)
    assert repr(pool) == "<map pool: push() and pop()>"
    assert [event.value for event in vm.events] == [bytes(2), bytes([30, 0])]
    with pytest.raises(KeyError, match="read map ring: its records are events"):
        _ = vm.maps["ring"]
    with pytest.raises(KeyError, match=r"read map \.rodata: its variables are in globals"):
        _ = vm.maps[".rodata"]


@needs_clang
def test_globals(osmia_vm: Make, obj: Object) -> None:
    vm = osmia_vm(obj, programs=["flows"], globals={"only": 100, "mode": "ON", "tag": "xy", "bonus": -3})
    assert verdict(vm, "flows") == 101
    assert (vm.globals["only"], vm.globals["mode"].name, vm.globals["tag"], vm.globals["seen"]) == (100, "ON", "xy", 1)
    vm.globals["bonus"] = 6
    assert verdict(vm, "flows") == 110 and vm.globals["seen"] == 2
    assert {"only", "bonus", "seen"} <= set(vm.globals) and "nope" not in vm.globals
    with pytest.raises(UsageError, match=r"set only: it is constant once the object is loaded \(give globals="):
        vm.globals["only"] = 1
    with pytest.raises(KeyError, match=r"did you mean 'bonus'"):
        vm.globals["bonuss"] = 1
    with pytest.raises(ObjectError, match="bonus: 2147483648 is not from"):
        vm.globals["bonus"] = 1 << 31
    vm.close()
    assert vm.globals["seen"] == 2
    with pytest.raises(UsageError, match="not loaded any more"):
        vm.globals["seen"] = 3
    with pytest.raises(ObjectError, match=r"set onyl: .*did you mean 'only'"):
        Vm(obj, programs=["flows"], globals={"onyl": 1})
    with pytest.raises(UsageError, match="of a script: it has none"):
        Vm("interval:s:1 { @ = 1; }", globals={"x": 1})


@needs_clang
def test_a_program_that_cannot_run_here_can_be_left_out(osmia_vm: Make, obj: Object) -> None:
    with pytest.raises(
        NotSupported, match=r"load sampled: .*helpers=\{'perf_prog_read_value': ...\}\); or .*programs=\["
    ):
        Vm(obj)
    assert list(osmia_vm(obj, programs=["second"]).verify().verdicts) == ["second"]
    assert osmia_vm(obj, helpers={"perf_prog_read_value": 0}).run(PACKET, program="second").verdict == 42
    with pytest.raises(UsageError, match=r"'secnd': .*did you mean 'second'"):
        Vm(obj, programs=["secnd"])


def test_maps_of_scripts(osmia_vm: Make, tmp_path: Path) -> None:
    vm = osmia_vm(
        "interval:s:1 /@on/ { @n[comm, 1] = count(); @text = @name[1]; @h = hist(3); @c = count(); }"
        "interval:s:9 { @on = (int32)0; @name[2] = comm; }"
    )
    vm.advance(1)
    assert len(vm.maps["@n"]) == 0
    vm.maps["@on"].value = 1
    vm.maps["@name"][1] = "bee"
    vm.maps["@n"]["test", 1] = 41
    vm.maps["@c"].value = 10
    vm.advance(1)
    assert dict(vm.maps["@n"]) == {("test", 1): 42}
    assert (vm.maps["@text"].value, vm.maps["@c"].value) == ("bee", 11)
    vm.maps["@on"].value = 0
    assert vm.maps["@on"].value == 0
    with pytest.raises(UsageError, match="a hist is made by programs"):
        vm.maps["@h"].value = 3
    with pytest.raises(UsageError, match=r"key: 1 is int \(give a tuple of 2"):
        vm.maps["@n"][1] = 2
    with pytest.raises(UsageError, match=r"keys of map @on: it has none"):
        vm.maps["@on"][1] = 2
    with pytest.raises(UsageError, match="it has keys"):
        vm.maps["@n"].value = 2
    with pytest.raises(UsageError, match="is not from -2147483648 to 2147483647"):
        vm.maps["@on"].value = 1 << 31
    vm.close()
    with pytest.raises(UsageError, match="the trace has ended"):
        vm.maps["@on"].value = 1
