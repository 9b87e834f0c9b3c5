"""Files to read: the running libc, and a program with USDT probes built by gcc."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The notes as the assembler sees them, by the published format; sys/sdt.h is not installed everywhere.
PROBES_C = r"""
#include <stdio.h>
#define NOTE(provider, name, sem, args) \
    "990: nop\n" \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n" \
    ".balign 4\n .4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n" \
    "992: .balign 4\n" \
    "993: .8byte 990b\n .8byte _.stapsdt.base\n .8byte " sem "\n" \
    ".asciz \"" provider "\"\n .asciz \"" name "\"\n .asciz \"" args "\"\n" \
    "994: .balign 4\n .popsection\n" \
    ".ifndef _.stapsdt.base\n" \
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
    ".weak _.stapsdt.base\n .hidden _.stapsdt.base\n" \
    "_.stapsdt.base: .space 1\n .size _.stapsdt.base, 1\n .popsection\n .endif\n"
__attribute__((section(".probes"), used)) unsigned short ours_second_semaphore;
int table[4] = {1, 2, 3, 4};
static int helper(int a) { return a * 3 + table[a & 3]; }
__attribute__((noinline)) int work(int a, long b)
{
    asm volatile(NOTE("ours", "first", "0", "-4@%0 8@%1 4@$5") :: "r"(a), "m"(b));
    asm volatile(NOTE("ours", "second", "ours_second_semaphore", "1@%b0") :: "q"(a));
    return helper(a) + (int)b;
}
int main(int argc, char **argv) { printf("%d\n", work(argc, argc * 2L)); return 0; }
"""


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def readelf() -> str:
    return _tool("readelf")


@pytest.fixture(scope="session")
def libc() -> str:
    """Path of the C library that this Python uses, else of any on the system."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if "/libc.so" in path or "/libc-" in path:
            return path
    pytest.skip(f"no C library is mapped in {sys.executable}")


@pytest.fixture(scope="session")
def probes_binary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A position-independent program with two USDT probes, one with a semaphore, and debug information."""
    folder = tmp_path_factory.mktemp("elf")
    source, out = folder / "probes.c", folder / "probes"
    source.write_text(PROBES_C)
    subprocess.run([_tool("gcc"), "-O1", "-g", "-o", out, source], check=True, timeout=60)
    return str(out)
