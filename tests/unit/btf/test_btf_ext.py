""".BTF.ext of an object that clang built, read, copied and written again."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from osmia import btf as B
from osmia.btf import Btf, BtfBuilder

SOURCE = """
struct inner { int a; unsigned b; } __attribute__((preserve_access_index));
struct outer { struct inner in; long x; } __attribute__((preserve_access_index));
static __attribute__((noinline)) int sub(struct outer *o) { return o->in.b; }
__attribute__((section("raw_tp/x"))) int prog(struct outer *o) {
    return sub(o) + o->x;
}
"""


@pytest.mark.skipif(not shutil.which("clang"), reason="clang is not installed")
def test_clang_object(tmp_path):
    from elftools.elf.elffile import ELFFile

    (tmp_path / "a.c").write_text(SOURCE)
    command = ["clang", "-O2", "-g", "-target", "bpf", "-c", "a.c", "-o", "a.o"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    with open(tmp_path / "a.o", "rb") as f:
        elf = ELFFile(f)
        raw, ext = (elf.get_section_by_name(name).data() for name in (".BTF", ".BTF.ext"))
    btf = Btf(raw)
    info = B.parse_ext(ext, btf)
    assert {s: btf.name(f[0].type_id) for s, f in info.funcs.items()} == {"raw_tp/x": "prog", ".text": "sub"}
    assert any(r.line == 6 and r.text.strip() == "return sub(o) + o->x;" for r in info.lines["raw_tp/x"])
    [relo] = info.core[".text"]
    assert (btf.name(relo.type_id), relo.access, relo.kind) == ("outer", "0:0:1", 0)

    b = BtfBuilder()
    assert [b.add_from(btf, t.id) for t in btf]
    written = B.build_ext(info, b)
    assert B.parse_ext(written, Btf(b.build())).lines == info.lines
