"""Helpers called directly: the world, memory of others, printing, timers, storage, sockets, routes, mocks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from osmia.errors import NotSupported, UsageError, VmFault
from osmia.isa import HELPERS as NUMBERS
from osmia.isa.map_types import (
    ARRAY,
    CGROUP_ARRAY,
    CGROUP_STORAGE,
    DEVMAP,
    HASH,
    PERF_EVENT_ARRAY,
    STACK_TRACE,
    TASK_STORAGE,
    USER_RINGBUF,
)
from osmia.vm._context import make_context, record
from osmia.vm._context_packet import SkbContext, XdpContext
from osmia.vm._helpers_redirect import Routes
from osmia.vm._helpers_socket import sockets
from osmia.vm._helpers_timer import advance
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import NO_PREALLOC, Shape
from osmia.vm._world import World


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(world=World(cpus=2)) as made:
        made.world.clock = 1_000_000_000
        made.data["work"] = made.memory.allocate(4096, "work")
        yield made


def call(machine: Machine, name: str, *arguments: int) -> int:
    """r0 of a helper, as a signed number."""
    r0 = machine.helper(NUMBERS[name])(machine, *arguments, *[0] * (5 - len(arguments)))
    return r0 - (1 << 64) if r0 >> 63 == 1 else r0


def at(machine: Machine, offset: int = 0, data: bytes = b"") -> int:
    """An address of the working memory, with `data` there."""
    address: int = machine.data["work"].base + offset
    machine.write(address, data)
    return address


def test_the_world_answers(machine: Machine) -> None:
    machine.world.set_task(pid=7, tgid=5, comm="name of a task which is long", uid=3, gid=4)
    machine.world.cpu = 1
    assert call(machine, "ktime_get_ns") == 1_000_000_000
    assert call(machine, "get_current_pid_tgid") == 5 << 32 | 7
    assert call(machine, "get_current_uid_gid") == 4 << 32 | 3
    assert call(machine, "get_smp_processor_id") == 1
    assert call(machine, "get_current_comm", at(machine), 16) == 0
    assert machine.read(at(machine), 16) == b"name of a task \0"
    assert call(machine, "get_current_comm", at(machine), 0) == -22
    machine.world.random = lambda: 0x1_0000_0007
    assert call(machine, "get_prandom_u32") == 7
    assert call(machine, "get_ns_current_pid_tgid", 1, 2, at(machine), 8) == 0
    assert machine.read(at(machine), 8) == b"\7\0\0\0\5\0\0\0"


def test_mocks_come_first(machine: Machine) -> None:
    machine.mock("ktime_get_ns", 42)
    assert call(machine, "ktime_get_ns") == 42


@pytest.mark.parametrize("name", ["override_return", "read_branch_records", "snprintf_btf", "tcp_sock"])
def test_what_user_space_lacks_is_named(machine: Machine, name: str) -> None:
    with pytest.raises(NotSupported, match=f"load prog: helper bpf_{name} .*does not exist in user space.*helpers="):
        machine.helper(NUMBERS[name], "prog")


class OwnProcess:
    """This process as the target of probe_read."""

    def read(self, address: int, size: int) -> bytes:
        from osmia.syscalls import process_read

        return process_read(os.getpid(), address, size)


def test_probe_read_of_own_memory(machine: Machine) -> None:
    source = at(machine, 100, b"hello\0world")
    assert call(machine, "probe_read_kernel", at(machine), 5, source) == 0
    assert machine.read(at(machine), 5) == b"hello"
    assert call(machine, "probe_read_kernel_str", at(machine), 4, source) == 4
    assert machine.read(at(machine), 4) == b"hel\0"
    assert call(machine, "probe_read_kernel_str", at(machine), 64, source) == 6
    machine.write(at(machine), b"x" * 8)
    assert call(machine, "probe_read_user", at(machine), 8, 0x10) == -14
    assert machine.read(at(machine), 8) == bytes(8)
    assert call(machine, "probe_read_user_str", at(machine), 8, 0x10) == -14
    assert call(machine, "probe_read_user", at(machine), 8, 1 << 63) == -14


def test_probe_read_of_a_process(machine: Machine) -> None:
    import mmap

    from osmia.syscalls.native import buffer_address

    machine.process = OwnProcess()
    with mmap.mmap(-1, 8192) as theirs:
        address = buffer_address(theirs)
        theirs[4090:4100] = b"0123456\0ab"
        assert call(machine, "probe_read_user_str", at(machine), 64, address + 4090) == 8
        assert machine.read(at(machine), 8) == b"0123456\0"
        assert call(machine, "probe_read_user", at(machine), 10, address + 4090) == 0
        assert call(machine, "probe_read_kernel", at(machine), 10, address + 4090) == -14


def test_writes_outside_are_faults(machine: Machine) -> None:
    with pytest.raises(VmFault, match="null pointer"):
        call(machine, "get_current_comm", 8, 16)
    with pytest.raises(VmFault, match="is no map"):
        call(machine, "map_lookup_elem", 0x1234, at(machine))


def test_trace_printk(machine: Machine) -> None:
    name = at(machine, 200, b"cat\0")
    text = at(machine, 100, b"%s: %d %x %llu\n\0")
    assert call(machine, "trace_printk", text, 16, name, (1 << 64) - 5, 255) == -22  # four conversions, three arguments
    text = at(machine, 100, b"%s: %d %x\n\0")
    assert call(machine, "trace_printk", text, 11, name, (1 << 64) - 5, 255) == 11
    assert machine.output == ["cat: -5 ff"]


def test_stacks(machine: Machine) -> None:
    stacks = create_map(machine, Shape(STACK_TRACE, 4, 8 * 4, 16))
    assert call(machine, "get_stackid", 0, stacks.handle, 0) == -14
    machine.data["stack"] = lambda user: [1, 2, 3, 4, 5, 6] if user else [9]
    number = call(machine, "get_stackid", 0, stacks.handle, 0x100 | 1)
    assert stacks.lookup(number.to_bytes(4, "little")) == b"".join(i.to_bytes(8, "little") for i in (2, 3, 4, 5))
    assert call(machine, "get_stackid", 0, stacks.handle, 0x100 | 1) == number
    assert call(machine, "get_stack", 0, at(machine), 24, 0) == 8
    assert machine.read(at(machine), 24) == (9).to_bytes(24, "little")
    assert call(machine, "get_stack", 0, at(machine), 20, 0) == -22


def test_timers_run_as_the_clock_moves(machine: Machine) -> None:
    table = create_map(machine, Shape(HASH, 4, 24, 4, locked=((0, 16),)))
    table.update(b"key1", bytes(24))
    timer = table.lookup_address(b"key1")
    ran: list[tuple[int, bytes]] = []

    def callback(handle: int, key: int, value: int) -> int:
        ran.append((machine.world.monotonic(), machine.read(key, 4)))
        if len(ran) < 3:
            assert call(machine, "timer_start", value, 10, 0) == 0
        return 0

    machine.functions[99] = callback
    assert call(machine, "timer_start", timer, 5, 0) == -22
    assert call(machine, "timer_init", timer, table.handle, 3) == -22
    assert call(machine, "timer_init", timer, table.handle, 1) == 0
    assert call(machine, "timer_init", timer, table.handle, 1) == -16
    assert call(machine, "timer_set_callback", timer, 99) == 0
    assert call(machine, "timer_start", timer, 5, 0) == 0
    assert advance(machine, 4) == 0
    assert advance(machine, 12) == 2
    assert ran == [(1_000_000_005, b"key1"), (1_000_000_015, b"key1")]
    assert call(machine, "timer_cancel", timer) == 1
    assert call(machine, "timer_cancel", timer) == 0
    assert table.lookup(b"key1") == bytes(24)


def test_task_storage(machine: Machine) -> None:
    made = create_map(machine, Shape(TASK_STORAGE, 4, 8, 0, NO_PREALLOC))
    machine.world.task = 0x1000
    assert call(machine, "task_storage_get", made.handle, 0x1000, 0, 0) == 0
    value = call(machine, "task_storage_get", made.handle, 0x1000, at(machine, 0, b"initial!"), 1)
    assert machine.read(value, 8) == b"initial!"
    assert call(machine, "task_storage_get", made.handle, 0x1000, 0, 0) == value
    assert call(machine, "task_storage_delete", made.handle, 0x1000) == 0
    assert call(machine, "task_storage_delete", made.handle, 0x1000) == -2


def test_cgroup_storage_is_that_of_the_current_cgroup(machine: Machine) -> None:
    made = create_map(machine, Shape(CGROUP_STORAGE, 8, 8, 0))
    machine.world.cgroup_id = 5
    first = call(machine, "get_local_storage", made.handle, 0)
    machine.world.cgroup_id = 6
    assert call(machine, "get_local_storage", made.handle, 0) != first
    assert len(made) == 2


def test_current_task_under_cgroup(machine: Machine) -> None:
    made = create_map(machine, Shape(CGROUP_ARRAY, 4, 4, 2))
    machine.world.cgroup_id, machine.world.ancestors = 9, (1, 4)
    assert call(machine, "current_task_under_cgroup", made.handle, 0) == -11
    made.set(0, 4)  # type: ignore[attr-defined]
    assert call(machine, "current_task_under_cgroup", made.handle, 0) == 1
    assert call(machine, "current_task_under_cgroup", made.handle, 5) == -7


def test_sockets_are_declared(machine: Machine) -> None:
    table = sockets(machine)
    listening = table.add("tcp", local=("0.0.0.0", 80))
    connected = table.add("tcp", local=("10.0.0.1", 80), remote=("10.0.0.2", 1234), cookie=77)
    tuple_ = bytes([10, 0, 0, 2, 10, 0, 0, 1]) + (1234).to_bytes(2, "big") + (80).to_bytes(2, "big")
    found = call(machine, "sk_lookup_tcp", 0, at(machine, 0, tuple_), 12, (1 << 64) - 1, 0)
    assert found == connected.address
    assert call(machine, "get_socket_cookie", found) == 77
    assert machine.memory.load(found + 4, 4) == 2 and machine.memory.load(found + 44, 4) == 80
    call(machine, "sk_release", found)
    assert connected.references == 0
    tuple_ = bytes([10, 0, 0, 3, 10, 0, 0, 1]) + (1234).to_bytes(2, "big") + (80).to_bytes(2, "big")
    assert call(machine, "sk_lookup_tcp", 0, at(machine, 0, tuple_), 12, 0, 0) == listening.address
    assert call(machine, "sk_lookup_udp", 0, at(machine, 0, tuple_), 12, 0, 0) == 0


def test_routes_are_declared(machine: Machine) -> None:
    routes = machine.data["routes"] = Routes()
    routes.add("10.0.0.0/8", 3, gateway="10.0.0.1", destination="02:00:00:00:00:09", source="02:00:00:00:00:01")
    routes.add("10.1.0.0/16", 4)
    routes.add("10.2.0.0/16", 0, result=1)

    def ask(address: tuple[int, int, int, int]) -> tuple[int, bytes]:
        parameters = bytearray(64)
        parameters[0] = 2
        parameters[32:36] = bytes(address)
        place = at(machine, 0, bytes(parameters))
        return call(machine, "fib_lookup", 0, place, 64, 0), machine.read(place, 64)

    result, filled = ask((10, 9, 9, 9))
    assert result == 0 and filled[8] == 3 and filled[32:36] == bytes([10, 0, 0, 1])
    assert filled[52:64] == bytes.fromhex("020000000001020000000009")
    assert ask((10, 1, 2, 3))[0] == 7  # no neighbour
    assert ask((10, 2, 0, 0))[0] == 1  # blackhole
    assert ask((192, 168, 0, 1))[0] == 4  # not forwarded
    assert call(machine, "fib_lookup", 0, at(machine), 60, 0) == -22


def test_redirects_are_noted(machine: Machine) -> None:
    with XdpContext(machine, bytes(60)) as packet:
        assert call(machine, "redirect", 5, 0) == 4
        assert machine.data["redirect"].ifindex == 5
        assert call(machine, "redirect", 5, 1) == 0
        devices = create_map(machine, Shape(DEVMAP, 4, 4, 4, name="devices"))
        assert call(machine, "redirect_map", devices.handle, 1, 2) == 2
        devices.update((1).to_bytes(4, "little"), (7).to_bytes(4, "little"))
        assert call(machine, "redirect_map", devices.handle, 1, 2) == 4
        assert (machine.data["redirect"].map, machine.data["redirect"].value) == ("devices", b"\7\0\0\0")
        packet.load_packet(bytes(70))
        assert "redirect" not in machine.data
    with SkbContext(machine, bytes(60)):
        assert call(machine, "clone_redirect", 0, 3, 0) == 0
        assert machine.data["clones"] == [(3, 0, bytes(60))]


def test_helpers_on_packets_need_one(machine: Machine) -> None:
    with pytest.raises(VmFault, match="without a packet"):
        call(machine, "xdp_adjust_head", 0, 4)
    with SkbContext(machine, bytes(60)), pytest.raises(VmFault, match="whose packet is a socket buffer"):
        call(machine, "xdp_adjust_head", 0, 4)


def test_perf_buffer(machine: Machine) -> None:
    events = create_map(machine, Shape(PERF_EVENT_ARRAY, 4, 4, 0))
    assert events.max_entries == 2
    data = at(machine, 0, b"hello")
    this_cpu = 0xFFFFFFFF
    assert call(machine, "perf_event_output", 0, events.handle, this_cpu, data, 5) == -2
    with events.reader(size=64) as reader:  # type: ignore[attr-defined]
        assert not reader.wait(0)
        assert call(machine, "perf_event_output", 0, events.handle, this_cpu, data, 5) == 0
        assert call(machine, "perf_event_output", 0, events.handle, 1, data, 5) == -95
        assert call(machine, "perf_event_output", 0, events.handle, 9, data, 5) == -7
        assert reader.wait(0)
        assert [record_[:5] for record_ in reader.drain()] == [b"hello"]
        results = [call(machine, "perf_event_output", 0, events.handle, this_cpu, data, 5) for _ in range(5)]
        assert results.count(-28) == reader.lost == 3


def test_user_ring_buffer(machine: Machine) -> None:
    ring = create_map(machine, Shape(USER_RINGBUF, 0, 0, 4096))
    got: list[bytes] = []

    def callback(pointer: int, context: int) -> int:
        assert call(machine, "dynptr_read", at(machine, 512), 3, pointer, 0, 0) == 0
        assert call(machine, "dynptr_write", pointer, 0, at(machine), 1, 0) == -22  # read-only
        got.append(machine.read(at(machine, 512), 3))
        return int(got[-1] == b"two")

    machine.functions[99] = callback
    assert call(machine, "user_ringbuf_drain", ring.handle, 99, 0, 0) == 0
    for text in (b"one", b"two", b"three"):
        ring.write(text)  # type: ignore[attr-defined]
    assert call(machine, "user_ringbuf_drain", ring.handle, 99, 0, 0) == 2
    assert call(machine, "user_ringbuf_drain", ring.handle, 99, 0, 0) == 1
    assert got == [b"one", b"two", b"thr"]


def test_a_lock_taken_twice_is_a_fault(machine: Machine) -> None:
    made = create_map(machine, Shape(ARRAY, 4, 8, 1, locked=((0, 4),), spin_lock=0))
    lock = made.lookup_address(bytes(4))
    call(machine, "spin_lock", lock)
    with pytest.raises(VmFault, match="deadlock"):
        call(machine, "spin_lock", lock)
    call(machine, "spin_unlock", lock)
    with pytest.raises(VmFault, match="not held"):
        call(machine, "spin_unlock", lock)


def test_contexts_have_named_fields(machine: Machine) -> None:
    with make_context(machine, "cgroup_sock_addr", user_family=2, user_port=0x5000, user_ip6=(1, 2, 3, 4)) as made:
        assert machine.memory.load(made.address, 4) == 2
        assert made["user_ip6"] == (1, 2, 3, 4) and made.number("user_port") == 0x5000
        with pytest.raises(UsageError, match="did you mean 'user_port'"):
            made["user_prt"]
    assert machine.memory.find(made.address, 1) is None
    with pytest.raises(UsageError, match="no such context"):
        make_context(machine, "nothing")


def test_records_of_tracepoints() -> None:
    fields = {"pid": (8, 4), "comm": (12, 16), "name": (28, 4)}
    made = record(fields, {"pid": -1, "comm": b"cat", "name": b"/etc/passwd\0"}, size=32)
    assert made[8:12] == b"\xff" * 4 and made[12:28] == b"cat".ljust(16, b"\0")
    where = int.from_bytes(made[28:32], "little")
    assert made[where & 0xFFFF :][: where >> 16] == b"/etc/passwd\0"


def test_every_module_has_the_helpers_that_the_table_names() -> None:
    from importlib import import_module

    from osmia.vm._helpers import _MODULES, HELPERS, INSTEAD

    for module, names in _MODULES.items():
        assert set(import_module(f"osmia.vm._helpers_{module}").TABLE) == set(names.split()), module
    assert len(HELPERS) == sum(len(names.split()) for names in _MODULES.values())
    assert all(NUMBERS[name] not in HELPERS for name in INSTEAD)


def test_a_faulted_run_holds_nothing(machine: Machine) -> None:
    from osmia.isa.map_types import RINGBUF
    from osmia.vm._helpers import clean_up

    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096))
    locks = create_map(machine, Shape(ARRAY, 4, 8, 1, locked=((0, 4),), spin_lock=0))
    assert call(machine, "ringbuf_reserve", ring.handle, 8, 0)
    call(machine, "spin_lock", locks.lookup_address(bytes(4)))
    clean_up(machine)
    call(machine, "spin_lock", locks.lookup_address(bytes(4)))
    assert call(machine, "ringbuf_output", ring.handle, at(machine, 0, b"ok"), 2, 0) == 0
    with ring.reader() as reader:  # type: ignore[attr-defined]
        assert list(reader.drain()) == [b"ok"]
    with pytest.raises(VmFault, match="is no record"):
        call(machine, "ringbuf_submit", at(machine), 0)


def test_sysctl(machine: Machine) -> None:
    machine.data.update(sysctl_name="net/ipv4/tcp_mem", sysctl_value=b"1 2 3", sysctl_new=b"4")
    assert call(machine, "sysctl_get_name", 0, at(machine), 64, 1) == 7
    assert machine.read(at(machine), 8) == b"tcp_mem\0"
    assert call(machine, "sysctl_get_current_value", 0, at(machine), 4) == -7
    assert call(machine, "sysctl_set_new_value", 0, at(machine, 0, b"55"), 2) == 0
    assert machine.data["sysctl_new"] == b"55"
