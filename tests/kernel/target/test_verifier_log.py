"""The table of verifier messages, on texts of old and new kernels."""

from __future__ import annotations

import pytest

from osmia.kernel import _verifier_log as log


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("R0 invalid mem access 'inv'", "a number is used as a pointer"),  # 5.4
        ("R0 invalid mem access 'scalar'", "a number is used as a pointer"),  # 5.18
        ("R0 invalid mem access 'map_value_or_null'", "may be null"),
        ("invalid access to map value, value_size=8 off=8 size=4", "4 bytes at offset 8 of a map value of 8 bytes"),
        ("R3 !read_ok", "never set"),
        ("combined stack size of 3 calls is 544. Too large", "544 bytes, 512 are allowed"),
        ("BPF program is too large. Processed 1000001 insn", "too complex"),
        ("unknown func bpf_skb_store_bytes#9", "may not call the helper bpf_skb_store_bytes#9"),
        ("invalid func unknown#181", "no such helper"),
        ("program of this type cannot use helper bpf_probe_read#4", "bpf_probe_read#4"),
        ("R2 min value is negative, either use unsigned or 'var &= const'", "may be negative"),
        ("R2 unbounded memory access, use 'var &= const' or 'if (var < const)'", "no upper limit"),
        ("R1 type=scalar expected=fp, pkt", "argument 1 of the helper is scalar"),
        ("Unreleased reference id=2 alloc_insn=4", "not released"),
        ("cannot call GPL-restricted function from non-GPL compatible program", "GPL"),
        ("dereference of modified ctx ptr R1 off=8 disallowed", "arithmetic"),
    ],
)
def test_known_messages(said, plain):
    words, remedy = log.reason(said)
    assert plain in words
    assert remedy


def test_unknown_messages_have_no_reason():
    assert log.reason("something new") == ("", "")


def test_the_last_words_are_found():
    text = (
        "func#0 @0\n0: R1=ctx() R10=fp0\n; x = *p; @ a.c:7\n0: (79) r0 = *(u64 *)(r1 +0) ; R0=scalar()\n"
        "R0 invalid mem access 'scalar'\nprocessed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0\n"
    )
    assert log.message(text) == "R0 invalid mem access 'scalar'"
    assert log.place(text, None) == ("a.c", 7, "x = *p;")
    assert log.message("processed 0 insns (limit 1000000)\n") == ""
