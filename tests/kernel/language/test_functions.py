"""Functions of the language: what they print and return, against what the workload did, /proc and the clock."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from pathlib import Path

from _tracing import Outcome, run
from _workloads import Workload, start_activity

SIZES = [1, 1, 2, 3, 5, 8, 13, 21]
WRITE = "tracepoint:syscalls:sys_enter_write /pid == $1 && args.fd == 3/"


def traced(body: str, *params: object, after: str = "", work: Workload | None = None, **options: object) -> Outcome:
    with work or start_activity("sizes", *SIZES) as work:
        return run(f"{WRITE} {{ {body} }} {after}", work.pid, *params, work=work, **options)


def symbols_of(path: Path) -> dict[str, int]:
    rows = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout.splitlines()
    return {row.split()[-1]: int(row.split()[0], 16) for row in rows if len(row.split()) == 3}


# output


def test_printf_conversions() -> None:
    outcome = traced(
        'printf("%d|%5d|%-5d|%05d|%x|%#x|%X|%o|%u|%lld|%llu|%c|%s|%-8s|%8s|%.2s|%%|%p\\n", args.count, args.count, '
        'args.count, args.count, args.count + 250, 255, 255, 8, args.count, -(int64)args.count, args.count, 65, comm, '
        '"ab", "ab", "abcdef", 0xbee);'
    )  # fmt: skip
    assert outcome.lines == [
        f"{n}|{n:5}|{n:<5}|{n:05}|{n + 250:x}|0xff|FF|10|{n}|-{n}|{n}|A|osmia-work|ab      |      ab|ab|%|0xbee"
        for n in SIZES
    ]


def test_printf_hands_python_values_on() -> None:
    outcome = traced('printf("%d %s %d %s\\n", args.count, comm, pid, probe);')
    pid = outcome.done["pid"]
    assert outcome.records == [(n, "osmia-work", pid, "tracepoint:syscalls:sys_enter_write") for n in SIZES]


def test_print_values_and_maps() -> None:
    outcome = traced(
        "@last = args.count; @by[args.count] = count(); @n = count(); @sizes = sum(args.count * 1000); "
        "print(args.count);",
        after='end { print("text"); print((1, "two", 3)); print(@last); print(@n); print(@by); print(@by, 2); '
        "print(@by[1]); print(@sizes, 0, 1000); }",
    )
    lines = outcome.lines
    assert lines[: len(SIZES)] == [str(n) for n in SIZES]
    rest = [line for line in lines[len(SIZES) :] if line]
    by = {f"@by[{n}]: {SIZES.count(n)}" for n in SIZES}
    assert rest[:4] == ["text", "(1, two, 3)", f"@last: {SIZES[-1]}", f"@n: {len(SIZES)}"]
    whole, top = rest[4 : 4 + len(by)], rest[4 + len(by) : 6 + len(by)]
    assert set(whole) == by and whole[-1] == "@by[1]: 2"  # least first
    assert top[-1] == "@by[1]: 2" and top[0] in by
    assert rest[6 + len(by) :] == ["2", f"@sizes: {sum(SIZES)}"]


def test_maps_at_the_end_as_text() -> None:
    final = traced(
        '@scalar = args.count; @[comm] = count(); @two["a", 1] = avg(args.count); @t = (1, "x"); @s = "str";'
    ).final
    lines = [line for line in final.splitlines() if line]
    assert lines == [
        f"@[osmia-work]: {len(SIZES)}", "@s: str", f"@scalar: {SIZES[-1]}", "@t: (1, x)",
        f"@two[a, 1]: {sum(SIZES) // len(SIZES)}",
    ]  # fmt: skip


def test_clear_zero_delete_has_key_len() -> None:
    outcome = traced(
        "@seen[args.count] = args.fd; @gone[args.count] = count(); @kept[args.count] = count(); "
        "if (has_key(@seen, 3) && !has_key(@seen, 4)) { @has = count(); } "
        'if (args.count == 21) { delete(@seen, 13); delete(@seen[8]); printf("%d %d\\n", len(@seen), len(@gone)); '
        "clear(@gone); zero(@kept); }",
        after='end { printf("%d %d %d\\n", len(@seen), len(@gone), len(@kept)); }',
    )
    distinct = set(SIZES)
    assert outcome.records == [
        (len(distinct) - 2, len(distinct)),
        (len(distinct) - 2, 0, len(distinct)),
    ]
    assert outcome.maps["@seen"] == dict.fromkeys(distinct - {13, 8}, 3)
    assert outcome.maps["@gone"] == {}
    assert outcome.maps["@kept"] == dict.fromkeys(distinct, 0)
    assert outcome.maps["@has"] == len([n for n in SIZES if n >= 3])


def test_time_and_strftime() -> None:
    before = time.time()
    outcome = traced(
        'if (args.count == 21) { time("%s\\n"); printf("%s %s\\n", strftime("%s", nsecs), '
        'strftime("%Y-%m-%d %H:%M:%S", nsecs)); '
        "@t = nsecs; }"
    )
    after = time.time()
    asynchronous, line = outcome.lines
    seconds, stamp = line.split(" ", 1)
    assert before - 1 <= int(asynchronous) <= after + 1
    assert before - 1 <= int(seconds) <= after + 1
    assert stamp == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(seconds)))


def test_exit_with_a_status_drops_what_follows() -> None:
    with start_activity("sizes", *SIZES) as work:
        work.release()
        outcome = run(
            f'{WRITE} {{ @n = count(); }} BEGIN {{ printf("one\\n"); exit(7); printf("two\\n"); }} '
            f'END {{ printf("end\\n"); }}',
            work.pid,
        )
    assert outcome.status == 7
    assert outcome.lines == ["one", "end"]


def test_join_an_argument_vector() -> None:
    arguments = ["/bin/true", "one", "two words", "-3"]
    with start_activity("execs", 3, *arguments) as work:
        outcome = run(
            'tracepoint:syscalls:sys_enter_execve /ppid == $1/ { join(args.argv); join(args.argv, "+"); }',
            work.pid,
            work=work,
        )
    assert outcome.lines == [" ".join(arguments), "+".join(arguments)] * 3


def test_cat_a_file() -> None:
    outcome = traced(
        'if (args.count == 21) { cat("/proc/sys/kernel/osrelease"); cat("/proc/%d/%s", $2, "comm"); }', os.getpid()
    )
    assert outcome.lines == [os.uname().release, Path("/proc/self/comm").read_text().strip()]


def test_system_runs_a_command() -> None:
    outcome = traced('if (args.count == 21) { system("echo $((%d + 1)) %s", args.count, comm); }', unsafe=True)
    assert outcome.lines[0] == "22 osmia-work"


# strings and bytes


def test_str_of_user_memory(some_file: Path) -> None:
    with start_activity("opens", some_file, 5) as work:
        maps = run(
            "tracepoint:syscalls:sys_enter_openat /pid == $1/ { @[str(args.filename)] = count(); "
            "@short = str(args.filename, 5); "
            '@same[str(args.filename) == str($2)] = count(); @text = "it is " ; }',
            work.pid, some_file, work=work,
        ).maps  # fmt: skip
    assert maps["@"] == {str(some_file): 5}
    assert maps["@same"] == {True: 5}
    assert str(some_file).startswith(maps["@short"]) and len(maps["@short"]) in (4, 5)


def test_a_text_of_max_strlen_bytes_is_whole(some_file: Path) -> None:
    """Marked as cut is what was cut, alone; both by print and in keys."""
    name, size = str(some_file), len(str(some_file))
    for limit in (size - 1, size, size + 1):
        with start_activity("opens", some_file, 1) as work:
            outcome = run(
                f"config = {{ max_strlen = {limit} }} tracepoint:syscalls:sys_enter_openat /pid == $1/ "
                '{ $s = str(args.filename); printf("%s\\n", $s); @[$s, 1] = strlen($s); }',
                work.pid, work=work,
            )  # fmt: skip
        shown = name if limit >= size else name[:limit] + ".."
        assert shown in outcome.lines
        assert outcome.maps["@"][shown, 1] == min(size, limit)


def test_buf_of_user_memory() -> None:
    messages = [bytes(range(1, 20)), b"text\n\x00after", bytes(32)]
    work = start_activity("speaks", *(m.hex() for m in messages))
    outcome = traced(
        'printf("%d %r\\n", args.count, buf(args.buf, args.count)); printf("%rh\\n", buf(args.buf, args.count)); '
        'printf("%rx\\n", buf(args.buf, 4)); @[args.count] = buf(args.buf, 4);', work=work,
    )  # fmt: skip
    records = [values[-1] for values in outcome.records]
    assert [bytes(value) for value in records] == [part for m in messages for part in (m, m, m[:4])]
    assert outcome.lines[1::3] == [m.hex(" ") for m in messages]
    assert outcome.lines[0] == "19 " + "".join(f"\\x{b:02x}" for b in messages[0])
    assert {size: bytes(value) for size, value in outcome.maps["@"].items()} == {len(m): m[:4] for m in messages}


def test_len_of_strings_and_stacks() -> None:
    outcome = traced('@s = strlen("four"); @c = strlen(comm); @k = len(kstack); @u = len(ustack);')
    assert (outcome.maps["@s"], outcome.maps["@c"]) == (4, len("osmia-work"))
    assert outcome.maps["@k"] >= 0 and outcome.maps["@u"] > 0


# addresses


def kernel_symbols() -> dict[str, int]:
    rows = (line.split() for line in Path("/proc/kallsyms").read_text().splitlines())
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3}


def test_kaddr_and_ksym() -> None:
    symbols = kernel_symbols()
    name = next(n for n in ("vfs_read", "do_exit", "schedule") if symbols.get(n))
    outcome = traced(
        f'if (args.count == 21) {{ @a = kaddr("{name}"); @s = ksym(kaddr("{name}")); printf("%s\\n", ksym(@a + 1)); }}'
    )
    assert outcome.maps["@a"] == symbols[name]
    assert str(outcome.maps["@s"]) == name
    assert outcome.lines == [f"{name}+1"] or outcome.lines == [name]


def test_kstack_names_the_functions_of_kallsyms() -> None:
    """A thread that goes to sleep in clock_nanosleep: its stack comes from the scheduler to the system call."""
    with start_activity("naps", 5, 5) as work:
        outcome = run(
            'tracepoint:sched:sched_switch /pid == $1/ { @[kstack] = count(); @short[kstack(2)] = count(); '
            '@perf[kstack(perf)] = count(); printf("%s", kstack(raw)); }',
            work.pid, work=work,
        )  # fmt: skip
        by_stack = {tuple(frame.split("+")[0] for frame in stack.frames): n for stack, n in outcome.maps["@"].items()}
    naps = sum(n for stack, n in by_stack.items() if "do_nanosleep" in stack)
    assert naps >= 5
    symbols = kernel_symbols()
    for stack in by_stack:
        assert set(stack) <= set(symbols)
        if "do_nanosleep" in stack:
            order = [stack.index(f) for f in ("schedule", "do_nanosleep", "hrtimer_nanosleep", "do_syscall_64")]
            assert order == sorted(order)
    assert {len(stack) for stack in outcome.maps["@short"]} == {2}
    functions = sorted(symbols.values())
    addresses = [int(word, 16) for word in outcome.text.split()]
    assert addresses and all(functions[0] <= address for address in addresses)


def test_ustack_usym_reg_uaddr(compiled, program) -> None:
    path = compiled("calls.c")
    work = program("calls.c", 20)
    outcome = run(
        f"uprobe:{path}:inner {{ @[ustack] = count(); @short[ustack(2)] = count(); @f[usym(reg(\"ip\"))] = count(); }} "
        f"uprobe:{path}:add {{ @address = uaddr(\"calls_made\"); @made[*(uint64*)uaddr(\"calls_made\")] = count(); "
        '@arg = sum((int32)reg("di")); } '
        f"uretprobe:{path}:add {{ @same[retval == reg(\"ax\")] = count(); @sum = sum(reg(\"ax\")); }}",
        work=work, pid=work.pid,
    )  # fmt: skip
    stacks = outcome.maps["@"]
    assert sum(stacks.values()) == outcome.done["inner"] == 40
    names = {tuple(frame.split("+")[0] for frame in stack.frames[:4]) for stack in stacks}
    assert names == {("inner", "middle", "outer", "main")}
    assert len(stacks) == 2  # outer calls middle from two places
    assert {len(stack) for stack in outcome.maps["@short"]} == {2}
    assert {str(name).split("+")[0]: n for name, n in outcome.maps["@f"].items()} == {"inner": 40}
    assert outcome.maps["@address"] % 4096 == symbols_of(path)["calls_made"] % 4096
    assert outcome.maps["@made"] == dict.fromkeys(range(20), 1)
    assert outcome.maps["@arg"] == sum(range(20))
    assert outcome.maps["@same"] == {True: 20}
    assert outcome.maps["@sum"] == outcome.done["add"]


# network and time


def test_ntop_of_addresses() -> None:
    with start_activity("connects", 4) as work:
        outcome = run(
            "#include <sys/socket.h>\n"
            "tracepoint:syscalls:sys_enter_connect /pid == $1/ { $sa = (struct sockaddr_in *)uptr(args.uservaddr); "
            "@[ntop(AF_INET, $sa->sin_addr.s_addr), bswap($sa->sin_port)] = count(); "
            "@short = ntop($sa->sin_addr.s_addr); "
            "@family = $sa->sin_family; }",
            work.pid, work=work,
        )  # fmt: skip
    assert outcome.maps["@"] == {("127.0.0.1", outcome.done["port"]): 4}
    assert outcome.maps["@short"] == "127.0.0.1"
    assert outcome.maps["@family"] == 2


def test_ntop_of_version_6() -> None:
    address = bytes.fromhex("20010db8000000000000000000000bee")
    body = "@six = ntop(AF_INET6, ((struct in6_addr *)uptr(args.buf))->in6_u.u6_addr8);"
    with start_activity("speaks", address.hex()) as work:
        maps = run(f"#include <sys/socket.h>\n{WRITE} {{ {body} }}", work.pid, work=work).maps
    assert maps["@six"] == "2001:db8::bee"


def test_numbers_in_network_order() -> None:
    outcome = traced(
        "@two = bswap((uint16)0x1234); @four = bswap((uint32)0x12345678); @eight = bswap((uint64)args.count);"
    )
    assert outcome.maps["@two"] == 0x3412
    assert outcome.maps["@four"] == 0x78563412
    assert outcome.maps["@eight"] == int.from_bytes(struct.pack("<Q", SIZES[-1]), "big")


# more of them: what is known beforehand


def test_comparing_and_searching_strings() -> None:
    with start_activity("execs", 2, "/bin/true", "needle in a haystack") as work:
        maps = run(
            'tracepoint:syscalls:sys_enter_execve /ppid == $1/ { $s = str(args.argv[1]); $n = strncmp($s, "need", 4); '
            '@equal[$n == 0] = count(); @has[strcontains($s, "hay")] = count(); '
            '@hasnot[strcontains($s, "needless")] = count(); '
            "@length[strlen($s)] = count(); @file[str(args.filename)] = count(); @second = $s; }",
            work.pid, work=work,
        ).maps  # fmt: skip
    assert maps["@equal"] == {True: 2} and maps["@has"] == {True: 2} and maps["@hasnot"] == {False: 2}
    assert maps["@length"] == {len("needle in a haystack"): 2}
    assert maps["@file"] == {"/bin/true": 2}
    assert maps["@second"] == "needle in a haystack"


def test_names_of_numbers() -> None:
    with start_activity("signals", 3) as work:
        maps = run(
            "tracepoint:syscalls:sys_enter_kill /pid == $1/ { @[signal_name(args.sig)] = count(); } "
            "rawtracepoint:sys_enter /pid == $1/ { @calls[syscall_name(arg1)] = count(); } "
            "tracepoint:syscalls:sys_exit_kill /pid == $1/ { @error[strerror(args.ret)] = count(); }",
            work.pid, work=work,
        ).maps  # fmt: skip
    assert {str(name): n for name, n in maps["@"].items()} == {signal.strsignal(signal.SIGUSR1): 3}
    assert {str(name): n for name, n in maps["@calls"].items()}["kill"] == 3
    assert {str(name): n for name, n in maps["@error"].items()} == {os.strerror(0): 3}
