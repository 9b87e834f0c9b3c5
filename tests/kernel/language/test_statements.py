"""Statements and expressions: each branch, round and cast is counted against the sizes that the workload wrote."""

from __future__ import annotations

from collections import Counter

import pytest
from _tracing import Outcome, run
from _workloads import start_activity

SIZES = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987]
PREDICATE = "/pid == $1 && args.fd == 3/"
WRITE = f"tracepoint:syscalls:sys_enter_write {PREDICATE}"


def traced(body: str, *params: object, before: str = "", after: str = "", sizes: list[int] = SIZES) -> Outcome:
    with start_activity("sizes", *sizes) as work:
        return run(f"{before} {WRITE} {{ {body} }} {after}", work.pid, *params, work=work)


def test_if_else() -> None:
    maps = traced(
        "if (args.count < 5) { @small = count(); } else if (args.count < 100) { @middle = count(); } "
        "else { @large = count(); }"
    ).maps
    assert maps["@small"] == sum(size < 5 for size in SIZES)
    assert maps["@middle"] == sum(5 <= size < 100 for size in SIZES)
    assert maps["@large"] == sum(size >= 100 for size in SIZES)


def test_ternary() -> None:
    maps = traced(
        '@[args.count > 20 ? "large" : "small"] = count(); @n[args.count < 3 ? 0 : args.count < 50 ? 1 : 2] = count(); '
        "$zero = args.count / 1000; @elvis = sum($zero ?: 7);"
    ).maps
    assert maps["@"] == Counter("large" if size > 20 else "small" for size in SIZES)
    assert maps["@n"] == Counter(0 if size < 3 else 1 if size < 50 else 2 for size in SIZES)
    assert maps["@elvis"] == 7 * len(SIZES)


def test_for_over_a_range() -> None:
    maps = traced(
        "$size = args.count; for ($i : 0..10) { if ($size & (1 << $i)) { @bits[$i] = count(); } } "
        "for ($i : 0..$size) { if ($i == 20) { break; } if ($i % 2) { continue; } @rounds = count(); } "
        "@after = count();"
    ).maps
    assert maps["@bits"] == Counter(bit for size in SIZES for bit in range(10) if size >> bit & 1)
    assert maps["@rounds"] == sum(len(range(0, min(size, 20), 2)) for size in SIZES)
    assert maps["@after"] == len(SIZES)


def test_for_over_a_map() -> None:
    outcome = traced(
        "@by[args.count] = count();",
        after='end { $keys = (uint64)0; for ($kv : @by) { $keys += $kv.0; @entries = count(); '
        '@copies[$kv.0] = (int64)$kv.1; } printf("%lld\\n", $keys); }',
    )  # fmt: skip
    assert outcome.maps["@by"] == outcome.maps["@copies"] == Counter(SIZES)
    assert outcome.maps["@entries"] == len(set(SIZES))
    assert outcome.records == [(sum(set(SIZES)),)]


def test_while_with_break_and_continue() -> None:
    maps = traced(
        "$n = args.count; $bits = 0; while ($n > 0) { $n = $n >> 1; $bits++; if ($bits >= 64) { break; } } "
        "@bits[$bits] = count(); "
        "$i = 0; while ($i < 10) { $i++; if ($i > 7) { break; } if ($i == 3) { continue; } @rounds = count(); }"
    ).maps
    assert maps["@bits"] == Counter(size.bit_length() for size in SIZES)
    assert maps["@rounds"] == 6 * len(SIZES)


def test_unroll() -> None:
    maps = traced("$i = 0; unroll (7) { $i += 1; @[$i] = count(); @s = sum($i); }").maps
    assert maps["@"] == dict.fromkeys(range(1, 8), len(SIZES))
    assert maps["@s"] == 28 * len(SIZES)


def test_casts() -> None:
    maps = traced(
        "@u8[(uint8)args.count] = count(); @i8[(int8)args.count] = count(); @i16 = sum((int16)(args.count * 100)); "
        "@neg = sum((int64)(int8)args.count); @wide = max((uint64)(uint32)(0 - args.count));"
    ).maps

    def signed(value: int, bits: int) -> int:
        return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)

    assert maps["@u8"] == Counter(size & 0xFF for size in SIZES)
    assert maps["@i8"] == Counter(signed(size, 8) for size in SIZES)
    assert maps["@i16"] == sum(signed(size * 100, 16) for size in SIZES)
    assert maps["@neg"] == sum(signed(size, 8) for size in SIZES)
    assert maps["@wide"] == max(-size & 0xFFFF_FFFF for size in SIZES)


def test_tuples() -> None:
    maps = traced(
        '$t = (args.count, args.count % 2 == 0 ? "even" : "odd", (args.fd, 7)); @[$t.1, $t.2.0] = sum($t.0); '
        "@last = $t; @whole[$t.0, $t.2] = count();"
    ).maps
    expected: Counter[tuple[str, int]] = Counter()
    for size in SIZES:
        expected["odd" if size % 2 else "even", 3] += size
    assert maps["@"] == expected
    assert maps["@last"] == (SIZES[-1], "odd", (3, 7))
    assert maps["@whole"] == {(size, (3, 7)): n for size, n in Counter(SIZES).items()}


OPERATORS = {
    "$n + 3": lambda n: n + 3, "$n - 700": lambda n: n - 700, "$n * 11": lambda n: n * 11, "$n / 7": lambda n: n // 7,
    "$n % 7": lambda n: n % 7, "$n & 0x55": lambda n: n & 0x55, "$n | 0x55": lambda n: n | 0x55,
    "$n ^ 0x55": lambda n: n ^ 0x55, "~$n": lambda n: ~n, "$n << 4": lambda n: n << 4, "$n >> 3": lambda n: n >> 3,
    "-$n": lambda n: -n, "!$n": lambda n: int(not n), "$n > 21": lambda n: int(n > 21),
    "$n >= 21": lambda n: int(n >= 21),
    "$n < 21": lambda n: int(n < 21), "$n <= 21": lambda n: int(n <= 21), "$n == 21": lambda n: int(n == 21),
    "$n != 21": lambda n: int(n != 21), "$n > 5 && $n < 50": lambda n: int(5 < n < 50),
    "$n < 5 || $n > 50": lambda n: int(n < 5 or n > 50), "($n + 2) * 3 - $n / 2": lambda n: (n + 2) * 3 - n // 2,
    "$n + 1 << 2": lambda n: n + 1 << 2, "$n & 6 == 6": lambda n: n & int(6 == 6), "2 + 3 * 4 - $n": lambda n: 14 - n,
    "(-$n) / 3": lambda n: -(n // 3), "(-$n) % 5": lambda n: -(n % 5), "(-$n) >> 1": lambda n: -n >> 1,
    "1e3 + 1_000 + 0x10 + $n": lambda n: 2016 + n, "1ms / 1us + $n": lambda n: 1000 + n,
}  # fmt: skip


@pytest.mark.parametrize("start", range(0, len(OPERATORS), 10))
def test_operators(start: int) -> None:
    part = list(OPERATORS.items())[start : start + 10]
    body = "$n = (int64)args.count; " + " ".join(f"@o{i}[$n] = (int64)({text});" for i, (text, _) in enumerate(part))
    maps = traced(body).maps
    for i, (text, operation) in enumerate(part):
        assert maps[f"@o{i}"] == {size: operation(size) for size in SIZES}, text


def test_assignment_operators() -> None:
    outcome = traced(
        "$v = (int64)args.count; $v += 5; $v -= 2; $v *= 3; $v /= 2; $v %= 1000; $v <<= 2; $v >>= 1; $v &= 0x7ff; "
        "$v |= 1; "
        "$v ^= 2; @[args.count] = $v; $i = 0; @post = $i++; @pre = ++$i; @down = $i--; @least = --$i; @total++; "
        "@sum += 2;"
    ).maps  # fmt: skip

    def compute(v: int) -> int:
        return (((((v + 3) * 3 // 2) % 1000) << 2 >> 1) & 0x7FF | 1) ^ 2

    assert outcome["@"] == {size: compute(size) for size in SIZES}
    assert (outcome["@post"], outcome["@pre"], outcome["@down"], outcome["@least"]) == (0, 2, 2, 0)
    assert (outcome["@total"], outcome["@sum"]) == (len(SIZES), 2 * len(SIZES))


def test_variables_and_blocks() -> None:
    maps = traced(
        "let $total: uint64 = 0; let $narrow: uint8 = 200; if (args.count > 10) { let $inner = args.count; "
        "$total = $inner; } "
        "$total += $narrow; @ = sum($total); @value = { let $x = 5; $x * 2 };"
    ).maps  # fmt: skip
    assert maps["@"] == sum((size if size > 10 else 0) + 200 for size in SIZES)
    assert maps["@value"] == 10


def test_maps_with_scalar_and_several_keys() -> None:
    maps = traced(
        "@scalar = args.count; @one[args.count] = args.fd; @two[comm, args.count] = pid; @seen += 1; "
        "@chain[@seen] = @scalar; @missing = @one[99999];"
    )
    pid = maps.done["pid"]
    assert maps.maps["@scalar"] == SIZES[-1]
    assert maps.maps["@one"] == dict.fromkeys(SIZES, 3)
    assert maps.maps["@two"] == {("osmia-work", size): pid for size in SIZES}
    assert maps.maps["@chain"] == dict(enumerate(SIZES, 1))
    assert maps.maps["@missing"] == 0


def test_positional_parameters() -> None:
    maps = traced(
        "if (args.count > $2) { @large[str($3)] = count(); } @number = $#; @absent = $9; @sum = $2 + $2;", 50, "big one"
    ).maps
    assert maps["@large"] == {"big one": sum(size > 50 for size in SIZES)}
    assert (maps["@number"], maps["@absent"], maps["@sum"]) == (3, 0, 100)


def test_predicates_of_several_probes() -> None:
    with start_activity("sizes", *SIZES) as work:
        maps = run(
            "tracepoint:syscalls:sys_enter_write /pid == $1 && args.fd == 3 && args.count > 20/ { @large = count(); } "
            "tracepoint:syscalls:sys_enter_write /pid == $1 && args.fd == 3 && args.count <= 20/ { @small = count(); } "
            'tracepoint:syscalls:sys_enter_write /comm == "osmia-work" && args.fd == 3 && pid == $1/ { @all = '
            "count(); } "
            'tracepoint:syscalls:sys_enter_write /pid == $1 && comm != "osmia-work"/ { @none = count(); }',
            work.pid,
            work=work,
        ).maps
    assert maps["@large"] == sum(size > 20 for size in SIZES)
    assert maps["@small"] == sum(size <= 20 for size in SIZES)
    assert maps["@all"] == len(SIZES)
    assert maps["@none"] is None


def test_several_probes_in_one_block_and_return() -> None:
    with start_activity("sizes", *SIZES) as work:
        maps = run(
            "tracepoint:syscalls:sys_enter_write, tracepoint:syscalls:sys_exit_write /pid == $1/ { @[probe] = "
            "count(); } "
            "tracepoint:syscalls:sys_enter_write /pid == $1/ { if (args.count > 50) { return; } @small = count(); }",
            work.pid,
            work=work,
        ).maps
    entered, left = (maps["@"][f"tracepoint:syscalls:sys_{side}_write"] for side in ("enter", "exit"))
    assert entered == left == len(SIZES) + 1  # and the workload's own result line
    assert maps["@small"] == sum(size <= 50 for size in SIZES)


def test_comments_and_config() -> None:
    outcome = traced(
        "/* a comment */ @c = count(); // another\n /* over\n lines */ @d = sum(2);",
        before="config = { max_map_keys = 64; print_maps_on_exit = 0 }",
    )
    assert (outcome.maps["@c"], outcome.maps["@d"]) == (len(SIZES), 2 * len(SIZES))
