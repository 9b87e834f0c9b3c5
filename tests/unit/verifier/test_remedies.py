"""Whoever does what a hint says gets a program that loads: clang compiles the changed sources of refused/."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from osmia.objects import read_elf
from osmia.verifier import from_spec, verify

ROOM = Path(__file__).parent / "refused"
KEY = "struct { __u32 prefixlen; __u8 data[4]; } key = { .prefixlen = 32 };"
# Source, words of the hint, what is written instead of what.
FOLLOWED = [
    ("signed_index", "if (i < 0 || i >= N) return 0;", [("if (fd < 8)", "if (fd < 0 || fd >= 8) return 0;")]),
    ("signed_index", "i & (N - 1)", [("slots[fd]", "slots[fd & (8 - 1)]")]),
    ("short_key", KEY, [("__u32 ip = ctx->ingress_ifindex;", KEY), ("&ip", "&key")]),
    ("call_in_lock", "in front of bpf_spin_lock(), and keep what it returns in a variable", [
        ("bpf_spin_lock(&s->lock);", "__u64 now = bpf_ktime_get_ns(); bpf_spin_lock(&s->lock);"),
        ("s->last = bpf_ktime_get_ns()", "s->last = now"),
    ]),
    ("return_in_lock", "call bpf_spin_unlock() in front of this `return`", [
        ("return 1;", "{ bpf_spin_unlock(&s->lock); return 1; }"),
    ]),
    ("prog_array", "do without", [("if (bpf_map_lookup_elem(&next, &key))", "")]),
    ("small_field", "&v->field, sizeof(v->field)", [("&i->pid, 16", "&i->comm, sizeof(i->comm)")]),
    ("small_field", "at most 4 bytes", [("&i->pid, 16", "&i->pid, 4")]),
    ("constant_index", "at most 56", [("slots[8]", "slots[7]")]),
    ("constant_index", "a larger value", [("__u64[8]", "__u64[9]")]),
    ("constant_written", "leave out `const`", [("const volatile", "volatile")]),
    ("sleeps", "bpf_probe_read_user()", [("bpf_copy_from_user(text", "bpf_probe_read_user(text")]),
    ("packet_atomic", "`*p = *p + 1;`", [
        ("__sync_fetch_and_add((__u32 *)data, 1);", "{ __u32 *p = data; *p = *p + 1; }"),
    ]),
    ("record_size", "write a number", [("&records, size, 0", "&records, 256, 0")]),
    ("write_context", "leave out the assignment", [("ctx->ingress_ifindex = 2;", "")]),
    ("index_unbounded", "if (i >= N) return 0;", [("return t->slots[i]", "if (i >= 16) return 0; return t->slots[i]")]),
    ("index_unbounded", "i &= N - 1", [("return t->slots[i]", "i &= 16 - 1; return t->slots[i]")]),
    ("size_unbounded", "if (n < 0) return 0;", [
        ("bpf_probe_read_kernel(name, ctx->size", "long n = ctx->size; if (n < 0 || n > 64) return 0; "
         "bpf_probe_read_kernel(name, n"),
    ]),
    ("tested_copy", "`if (n < 0 || n >= SIZE) return 0;`", [
        ("int n =", "long n ="), ("(n < 0)", "(n < 0 || n >= 512)"),
    ]),
    ("tested_copy", "`n &= SIZE - 1`", [("int n =", "long n ="), ("t->data[n]", "n &= 512 - 1; t->data[n]")]),
    ("packet_copy", "bpf_xdp_load_bytes(ctx, offset, buffer, length)", [
        ("for (int i = 0; i < 64 && i < length; i++)", "long (*bpf_xdp_load_bytes)(void *, __u32, void *, __u32) = "
         "(void *)189;"),
        ("p->data[i] = ((char *)data)[i];", "bpf_xdp_load_bytes(ctx, 0, p->data, 64);"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "hint", "changes"), FOLLOWED, ids=[f"{name}: {hint}" for name, hint, _ in FOLLOWED])
def test_followed_it_loads(name: str, hint: str, changes: list[tuple[str, str]], tmp_path: Path) -> None:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang")
    assert hint in (ROOM / f"{name}.txt").read_text().splitlines()[-1]
    source = (ROOM / f"{name}.c").read_text()
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    (tmp_path / "followed.c").write_text(source)
    cpu = "-mcpu=v2" if name == "tested_copy" else "-mcpu=v3"
    flags = ["-O2", "-g", "-target", "bpf", cpu, "-w", f"-I{ROOM}", "-c", "-o", str(tmp_path / "followed.o")]
    subprocess.run([clang, *flags, str(tmp_path / "followed.c")], check=True, timeout=60)
    obj = read_elf((tmp_path / "followed.o").read_bytes(), name)
    verdict = verify(from_spec(obj, obj.programs[0]))
    assert verdict.accepted, verdict.message
