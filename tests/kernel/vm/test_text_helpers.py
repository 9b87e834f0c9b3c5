"""Text: snprintf, trace_printk, strtol, strtoul, strncmp give the kernel's results and bytes."""

from __future__ import annotations

from random import Random

import pytest
from kernel.vm.twin_runs import RESULTS, VALUE, XDP, in_kernel, in_vm, results_shape, words, wrap

from osmia.isa.map_types import ARRAY
from osmia.vm._map_base import RDONLY_PROG, Shape

_PIECES = ("%d", "%u", "%x", "%X", "%i", "%ld", "%llu", "%lx", "%lli", "%c", "%5d", "%-5d|", "%05x", "%#x", "%+d",
           "% d", "%px", "%p6", "%%", " text ", "\n", "%pI4", "%s", "%10llx", "%-12lx|", "%08X", "%#llx", "%+5ld",
           "%lc", "%20px", "%-20px|", "%hd", "%f", "%pZ", "%", "%l", "%pks", "%-08d|", "%2c|", "%-3c|")  # fmt: skip
_VALUES = (0, 1, 7, 65, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def _store(words_: list[int], at: int) -> str:
    return "\n".join(f"r1 = {word:#x} ll\n*(u64 *)(r10 - {at - 8 * i}) = r1" for i, word in enumerate(words_))


@pytest.mark.parametrize("seed", range(25))
def test_snprintf(seed: int) -> None:
    random = Random(seed)
    pieces = random.sample(_PIECES, random.randrange(1, 5))
    text = "".join(pieces)
    # Pointers are followed: a number that is no address reads as nothing.
    values = [random.choice(_VALUES) for _ in range(random.choice((text.count("%"), text.count("%"), 3)))][:8]
    if any(piece in ("%pI4", "%s", "%pks") for piece in pieces):
        values = [0 for _ in values]
    size = random.choice((64, 64, 1, 5))
    steps = [
        _store(values, 160) if values else "",
        "\n".join(f"*(u64 *)(r10 - {88 - 8 * i}) = 0" for i in range(8)),
        f"r1 = r10\nr1 += -88\nr2 = {size}\nr3 = {VALUE + 1:#x} ll\nr4 = r10\nr4 += -160\nr5 = {8 * len(values)}\n"
        + ("" if values else "r4 = 0\n")
        + "call bpf_snprintf#165\nsave",
    ] + [f"r0 = *(u64 *)(r10 - {88 - 8 * i})\nsave" for i in range(8)]
    code = wrap(steps)
    shapes = [results_shape(), Shape(ARRAY, 4, 64, 1, RDONLY_PROG)]
    constant = text.encode().ljust(64, b"\0")
    vm = in_vm(XDP, code, shapes, bytes(64), constant=constant)
    try:
        kernel = in_kernel(XDP, code, shapes, bytes(64), constant=constant)
    except AssertionError:
        # The verifier tries the format with what it knows: the helper then refuses it likewise.
        assert words(vm.results)[0] == -22, (text, values)
        return
    assert vm.results[8 : 8 * 9] == kernel.results[8 : 8 * 9], (text, values)
    assert words(vm.results)[0] == words(kernel.results)[0], (text, values)


@pytest.mark.parametrize("seed", range(25))
def test_trace_printk(seed: int) -> None:
    random = Random(seed)
    text = "".join(
        random.sample([p for p in _PIECES if p not in ("%s", "%pI4", "%pks", "%p6")], random.randrange(1, 4))
    )
    data = text.encode() + (b"\0" if random.random() < 0.9 else b"x")
    stored = [int.from_bytes(data.ljust(64, b"\0")[at : at + 8], "little") for at in range(0, 64, 8)]
    values = [random.choice(_VALUES) for _ in range(3)]
    arguments = "\n".join(f"r{i + 3} = {value:#x} ll" for i, value in enumerate(values))
    code = wrap(
        [f"{_store(stored, 64)}\nr1 = r10\nr1 += -64\nr2 = {len(data)}\n{arguments}\ncall bpf_trace_printk#6\nsave"]
    )
    kernel = in_kernel(XDP, code, [results_shape()], bytes(64))
    vm = in_vm(XDP, code, [results_shape()], bytes(64))
    assert words(vm.results)[0] == words(kernel.results)[0], (text, values)


_NUMBERS = ("0", "7", "-7", "+7", " 12", "\t-12x", "0x1f", "0X1F", "-0x10", "077", "08", "0x", "", "-", "x",
            "99999999999", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551615",
            "12 34", "--1", "18446744073709551616", "ff", "1e3", "0b11", "0o7", "-0", "- 1", " ", "0xg",
            "00x1")  # fmt: skip


@pytest.mark.parametrize("helper", ["bpf_strtol#105", "bpf_strtoul#106"])
@pytest.mark.parametrize("base", [0, 8, 10, 16, 7])
def test_numbers(helper: str, base: int) -> None:
    steps = []
    for text in _NUMBERS:
        data = text.encode()[:24]
        stored = [int.from_bytes(data.ljust(32, b"\0")[at : at + 8], "little") for at in range(0, 32, 8)]
        steps.append(
            f"{_store(stored, 64)}\n*(u64 *)(r10 - 72) = 5\nr1 = r10\nr1 += -64\nr2 = {max(len(data), 1)}\n"
            f"r3 = {base}\nr4 = r10\nr4 += -72\ncall {helper}\nsave\nr0 = *(u64 *)(r10 - 72)\nsave"
        )
    code = wrap(steps)
    kernel = words(in_kernel(XDP, code, [results_shape()], bytes(64)).results)
    vm = words(in_vm(XDP, code, [results_shape()], bytes(64)).results)
    assert [(text, *vm[2 * i : 2 * i + 2]) for i, text in enumerate(_NUMBERS)] == [
        (text, *kernel[2 * i : 2 * i + 2]) for i, text in enumerate(_NUMBERS)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_strncmp(seed: int) -> None:
    random = Random(seed)
    steps = []
    constant = b"abcd\0efg".ljust(64, b"\0")
    for _ in range(10):
        left = bytes(random.choice((constant[i], constant[i], constant[i], 0, 97, 200)) for i in range(8))
        stored = [int.from_bytes(left, "little")]
        steps.append(
            f"{_store(stored, 64)}\nr1 = r10\nr1 += -64\nr2 = {random.randrange(1, 9)}\nr3 = {VALUE + 1:#x} ll\n"
            "call bpf_strncmp#182\nw0 s>>= 31\nsave"
        )
    code = wrap(steps)
    shapes = [results_shape(), Shape(ARRAY, 4, 64, 1, RDONLY_PROG)]
    kernel = in_kernel(XDP, code, shapes, bytes(64), constant=constant)
    vm = in_vm(XDP, code, shapes, bytes(64), constant=constant)
    assert vm.results[: 8 * RESULTS] == kernel.results[: 8 * RESULTS]
