"""What kernels learned, one row each: name, first version, upstream commit, what it allows, how to find out.

A probe is a program in the assembler's syntax that a kernel with the feature takes and one without refuses (socket
filter unless a type stands in front), or "" where no short program tells. The tests ask three kernels.
"""

from __future__ import annotations

from .._data import Data


class Feature(Data):
    """A row of the table."""

    name: str
    since: tuple[int, int]
    commit: str
    effect: str
    probe: str = ""


_ROWS = (
    Feature("bpf_calls", (4, 16), "f4d7e40a5b71", "functions call one another, at most 8 deep",
            "call f\nexit\nf:\nr0 = 0\nexit"),
    Feature("jmp32", (5, 1), "092ed0968bb6", "jumps compare 32 bits",
            "w1 = 1\nr0 = 0\nif w1 == 1 goto pc+0\nexit"),
    Feature("million_insns", (5, 2), "c04c0d2b968a", "a million instructions instead of 4096; as many are walked"),
    Feature("bounded_loops", (5, 3), "2589726d12a1", "loops that end are walked; before, every back edge is refused",
            "r0 = 0\nl: r0 += 1\nif r0 < 4 goto l\nr0 = 0\nexit"),
    Feature("constant_spills", (5, 3), "f7cf25b2026d", "a constant is known again after a trip over the stack"),
    Feature("btf_tracing", (5, 5), "9e15db66136a", "tracing programs follow kernel pointers by BTF"),
    Feature("global_functions", (5, 6), "51c39bb1d5d1", "functions that are not static are verified on their own"),
    Feature("bounds32", (5, 7), "3f50f132d840", "32-bit bounds of registers are tracked on their own"),
    Feature("callbacks", (5, 13), "69c087ba6225", "helpers call functions of the program"),
    Feature("sleepable", (5, 10), "1e6c62a88215", "programs that may sleep"),
    Feature("variable_stack_access", (5, 12), "01f810ace9ed", "stack is read and written at variable offsets"),
    Feature("atomics", (5, 12), "5ffa25502b5a", "atomic operations besides add, and their old values",
            "r1 = 1\n*(u64 *)(r10 - 8) = r1\nr0 = 2\nr1 = atomic64_fetch_add((u64 *)(r10 - 8), r1)\nr0 = 0\nexit"),
    Feature("kfuncs", (5, 13), "e6ac2450d6de", "kernel functions are called by their BTF id"),
    Feature("narrow_spills", (5, 16), "354e8f1970f8", "1, 2 and 4-byte spills keep their value"),
    Feature("bpf_loop", (5, 17), "e6f2dd0f8067", "helper bpf_loop"),
    Feature("dynptr", (5, 19), "97e03f521050", "dynamic pointers"),
    Feature("uninit_stack_reads", (6, 3), "6715df8d5d24", "the privileged may read stack that was not written",
            "r0 = *(u64 *)(r10 - 8)\nr0 = 0\nexit"),
    Feature("open_coded_iterators", (6, 4), "06accc8779c1", "loops over bpf_iter_* kfuncs"),
    Feature("cpu_v4", (6, 6), "1f9a1ea821ff", "sign-extending loads and moves, swaps, signed division, gotol",
            "r1 = 1\nr0 = (s8)r1\nr0 = 0\nexit"),
    Feature("may_goto", (6, 9), "011832b97b31", "may_goto, which leaves a loop after a while",
            "r0 = 0\nmay_goto pc+0\nexit"),
    Feature("load_acquire", (6, 15), "880442305a39", "load-acquire and store-release"),
)  # fmt: skip
FEATURES: dict[str, Feature] = {row.name: row for row in _ROWS}
