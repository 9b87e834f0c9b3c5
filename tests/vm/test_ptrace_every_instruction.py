"""A breakpoint on every instruction of a program's functions: it computes what it computes without any."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from _ptrace import Running, trace

from osmia.elf import instruction_length, open_elf

PROGRAM = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static uint32_t table[256];
static const char *names[] = {"zero", "one", "two", "three", "four"};
typedef long (*operation)(long, long);
long plus(long a, long b) { return a + b; }
long minus(long a, long b) { return a - b; }
long times(long a, long b) { return a * b; }
static operation operations[] = {plus, minus, times};
int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
double mean(const int *values, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += values[i] * 1.5;
    return n ? sum / n : 0;
}
uint32_t checksum(const unsigned char *data, size_t size) {
    uint32_t crc = 0xFFFFFFFF;
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320 ^ (c >> 1) : c >> 1;
            table[i] = c;
        }
    for (size_t i = 0; i < size; i++) crc = table[(crc ^ data[i]) & 255] ^ (crc >> 8);
    return ~crc;
}
const char *choose(int i) {
    switch (i) {
    case 0: return names[0];
    case 1: return names[1];
    case 2: return "second";
    case 5: return names[4];
    case 6: return "sixth";
    case 7: return "seventh";
    default: return NULL;
    }
}
long walk(long n) { return n <= 0 ? 0 : n % 3 == 0 ? walk(n - 1) - n : walk(n - 2) + n / 7; }
int main(void) {
    char c, text[64];
    int values[16];
    long total = 0;
    uint32_t sum = 0;
    printf("{\"ready\": %d}\n", getpid()); fflush(stdout);
    if (read(0, &c, 1) != 1) return 3;
    for (int i = 0; i < 16; i++) values[i] = (i * 7919 + 13) % 101;
    qsort(values, 16, sizeof(int), compare);
    for (int i = 0; i < 9; i++) {
        const char *name = choose(i);
        total = operations[i % 3](total, i + 3);
        memset(text, 'a' + i, sizeof(text));
        snprintf(text, sizeof(text), "%s %ld", name ? name : "-", total);
        sum ^= checksum((unsigned char *)text, strlen(text)) + i;
    }
    printf("{\"total\": %ld, \"sum\": %u, \"mean\": %.6f, \"walk\": %ld, \"first\": %d}\n", total, sum,
           mean(values, 16), walk(40), values[0]);
}
"""
NAMES = ("plus", "minus", "times", "compare", "mean", "checksum", "choose", "walk", "main")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(mkdtemp(prefix="osmia-ptrace-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="instructions are told apart on x86-64 only")
@pytest.mark.parametrize("flags", ["-O0", "-O2 -mavx2", "-O1 -fPIE -pie", "-O3 -no-pie", "-Os -fcf-protection=full"])
def test_results_stay(folder: Path, flags: str) -> None:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed (apt-get install gcc)")
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        if "avx2" in flags and "avx2" not in file.read():
            pytest.skip("this processor has no AVX2")
    (folder / "every.c").write_text(PROGRAM)
    program = folder / f"every{flags.replace(' ', '')}"
    subprocess.run(
        ["gcc", *flags.split(), "-fno-inline", "-o", str(program), str(folder / "every.c")], check=True, timeout=60
    )
    plain = subprocess.run([program], input="\n", capture_output=True, text=True, timeout=20).stdout.splitlines()[1]
    hooks = []
    with open_elf(str(program)) as elf:
        for name in NAMES:
            symbol = elf.find_symbol(name)
            assert symbol is not None
            start = elf.addr_to_offset(symbol.value)
            code = program.read_bytes()[start : start + symbol.size]
            at = 0
            while at < len(code):
                hooks.append(f"uprobe:{program}:{name}+{at}")
                at += instruction_length(code, at)
            hooks.append(f"uretprobe:{program}:{name}")
    with Running([str(program)]) as work, trace(hooks, pid=work.pid) as traced:
        assert work.finish() == json.loads(plain)
        found = traced.result()
        assert work.process.returncode == 0
    counts = found["counts"]
    assert counts[f"uprobe:{program}:plus+0"] == counts[f"uretprobe:{program}:plus"] == 3
    assert sum(counts.values()) > 1000
