"""Runs on packets and contexts, and what is said when a program is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from osmia.errors import UsageError, VerifierError
from osmia.objects import Object
from osmia.session import Printf
from osmia.testing import Vm
from osmia.testing._clang import compile_c

Make = Callable[..., Vm]
pytestmark = pytest.mark.skipif(not shutil.which("clang"), reason="needs clang, which builds the programs")

SOURCE = r"""
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(x) __attribute__((section(x), used))
struct __sk_buff { u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
	u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end; };
struct bpf_sock_addr { u32 user_family, user_ip4, user_ip6[4], user_port; };

SEC("tc") int classify(struct __sk_buff *skb)
{
	skb->cb[1] = skb->cb[0] + skb->ifindex;
	skb->mark += 1;
	return skb->mark == 6 ? 2 : 0;
}
SEC("cgroup/connect4") int to_proxy(struct bpf_sock_addr *ctx)
{
	if (ctx->user_ip4 == 0x0100000a) { /* 10.0.0.1 */
		ctx->user_ip4 = 0x0100007f;
		ctx->user_port = 0x901f;   /* 8080, in network byte order */
	}
	return ctx->user_port != 0x1900;   /* 25 */
}
SEC("cgroup/connect6") int six(struct bpf_sock_addr *ctx) { return ctx->user_ip6[3] != 0x01000000; }
SEC("kprobe/vfs_read") int traced(void *ctx) { return 0; }
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def obj(tmp_path_factory: pytest.TempPathFactory) -> Object:
    path = tmp_path_factory.mktemp("program") / "program.c"
    path.write_text(SOURCE)
    return compile_c(str(path))


def test_fields_of_the_context_of_a_packet(osmia_vm: Make, obj: Object) -> None:
    vm = osmia_vm(obj)
    result = vm.run(bytes(64), program="classify", context={"mark": 5, "cb": [7, 0, 0, 0, 0]}, ifindex=3)
    assert result.name == "SHOT" and result.context is not None
    assert (result.context["mark"], result.context["cb"], result.context["len"]) == (6, (7, 10, 0, 0, 0), 64)
    assert "data" not in result.context and dict(result.context)["priority"] == 0
    assert (
        len({result, vm.run(bytes(64), program="classify", context={"mark": 5, "cb": [7, 0, 0, 0, 0]}, ifindex=3)}) == 1
    )
    again = vm.run(bytes(64), program="classify")
    assert again.name == "OK" and again.context is not None and again.context["mark"] == 1
    assert repr(again).startswith("PacketResult('OK', verdict=0, packet='0000") and "context" not in repr(again)


def test_programs_of_sockets(osmia_vm: Make, obj: Object) -> None:
    vm = osmia_vm(obj)
    result = vm.run(program="to_proxy", context={"user_ip4": "10.0.0.1", "user_port": 0x1900})
    assert result.name == "ALLOW" and result.context is not None
    assert (result.context["user_ip4"], result.context["user_port"]) == (0x0100007F, 0x901F)
    assert vm.run(program="to_proxy", context={"user_port": 0x1900}).name == "DENY"
    for loopback in ("::1", IPv6Address("::1"), [0, 0, 0, 1 << 24], IPv6Address("::1").packed):
        assert vm.run(program="six", context={"user_ip6": loopback}).name == "DENY"
    assert vm.run(program="six", context={"user_ip6": "::2"}).name == "ALLOW"


@pytest.mark.parametrize(
    ("packet", "options", "why"),
    [
        (None, {"program": "to_proxy", "context": {"user_ip": 1}}, r"no field 'user_ip' \(did you mean 'user_ip"),
        (None, {"program": "to_proxy", "context": {"user_port": 1 << 32}}, "4294967296 is no number of 32 bits"),
        (None, {"program": "to_proxy", "context": {"user_ip4": "10.0.0"}}, r"got '10.0.0' \(give a number, or an add"),
        (None, {"program": "six", "context": {"user_ip6": [1, 2]}}, r"got \[1, 2\] \(give 4 numbers, or an address"),
        (None, {"program": "six", "context": {"user_ip6": "10.0.0.1"}}, "4 bytes, it has 16"),
        (None, {"program": "traced", "context": {}}, r"a kprobe program is not run on a context alone \(fire events"),
        (None, {"program": "classify", "context": {}}, "give a packet"),
        (None, {"context": {}}, r"there are classify, .* \(name one"),
        (None, {}, "there is no packet"),
        ("packet", {}, "it is str"),
        (bytes(64), {"program": "to_proxy"}, "to_proxy on a packet"),
        (bytes(64), {"program": "clasify"}, r"'clasify': there is none \(did you mean 'classify'"),
        (bytes(64), {"context": {"len": 3}}, "len of sched_cls: it is the packet's"),
        (bytes(64), {"context": {"cb": 3}}, r"got 3 \(give 5 numbers"),
        (bytes(64), {"ifindex": -1}, "ifindex -1"),
    ],
)
def test_what_cannot_be_run(osmia_vm: Make, obj: Object, packet: object, options: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        osmia_vm(obj).run(packet, **options)


def test_packets_are_not_fired(osmia_vm: Make, obj: Object) -> None:
    vm = osmia_vm(obj, programs=["classify"])
    for probe in ("tc:classify", "kprobe:vfs_read"):
        with pytest.raises(UsageError, match=r"vm\.run\(packet\)"):
            vm.fire(probe)
    with pytest.raises(UsageError, match=r"no program takes packets \(events are fired"):
        osmia_vm("interval:s:1 { }").run(bytes(64))


def test_a_refused_program_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "bad.c"
    path.write_text(
        SOURCE.replace("skb->mark += 1;", "\n\tskb->mark = *(u8 *)(long)skb->data;").replace('"kprobe/', '"?kprobe/')
    )
    with pytest.raises(
        VerifierError, match=r"load classify: the verifier refused it at .*bad\.c:12: .*packet"
    ) as caught:
        Vm(path)
    (note,) = caught.value.__notes__
    assert "bad.c:12: ERROR:" in note and "\nHINT: " in note and "  verifier: " in note
    assert caught.value.line == 12 and caught.value.file.endswith("bad.c")


def test_events_are_those_of_the_test(osmia_vm: Make) -> None:
    vm = osmia_vm('interval:s:1 { printf("tick"); }')
    assert vm.events == []
    vm.advance(1)
    assert [type(event) for event in vm.events] == [Printf]


def test_a_c_file_is_compiled_again_when_it_or_a_header_has_changed(tmp_path: Path) -> None:
    source, header = tmp_path / "with blank.c", tmp_path / "size.h"
    source.write_text('#include "size.h"\nint x = SIZE; char _license[] __attribute__((section("license"))) = "GPL";')

    def contents(text: str) -> bytes:
        header.write_text(text)
        os.utime(header, (1, len(text)))  # long before it is compiled
        os.utime(source, (1, 1))
        return next(m.contents or b"" for m in compile_c(str(source)).maps if m.name == ".data")

    assert contents("#define SIZE 1\n") == bytes([1, 0, 0, 0])
    first = compile_c(str(source))
    assert compile_c(str(source)) is first
    assert contents("#define SIZE 22\n") == bytes([22, 0, 0, 0])
    header.unlink()
    with pytest.raises(Exception, match=r"size\.h"):
        compile_c(str(source))
    with pytest.raises(UsageError, match="there is no such file"):
        compile_c(str(tmp_path / "none.c"))


def test_a_program_is_verified_once_in_a_process(
    osmia_vm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import osmia.verifier

    path = tmp_path / "twice.c"
    path.write_text(
        f"const volatile int only; /* {tmp_path} */"
        '__attribute__((section("xdp"), used)) int on(void *ctx)'
        "{ int at = only; return at ? *(volatile int *)(long)at : 2; }"
        'char _license[] __attribute__((section("license"))) = "GPL";'
    )
    asked = []
    verify = osmia.verifier.verify

    def count(*args: object, **options: object) -> object:
        asked.append(args)
        return verify(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(osmia.verifier, "verify", count)
    osmia_vm(path)
    before = len(asked)
    assert osmia_vm(path).run(bytes(64)).name == "PASS" and len(asked) == before
    for _ in range(2):  # the constant decides: what is refused is refused each time
        with pytest.raises(VerifierError):
            Vm(path, globals={"only": 1})
    assert len(asked) == before + 2
    assert osmia_vm(path).run(bytes(64)).name == "PASS" and len(asked) == before + 2
