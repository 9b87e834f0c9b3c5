"""What kernels learned, one row each: name, first version, upstream commit, what it allows, how to find out.

A probe is a program in the assembler's syntax that a kernel with the feature takes and one without refuses: a socket
filter, or of the type in front of a colon. Rows without one need BTF, a map or an attach point to be asked. The tests
put the probes to three kernels.
"""

from __future__ import annotations

from .._data import Data


class Feature(Data):
    """A row of the table. `stable`: older series whose stable releases brought it too (of 6.1, Debian 12 was asked)."""

    name: str
    since: tuple[int, int]
    commit: str
    effect: str
    probe: str = ""
    stable: tuple[tuple[int, int], ...] = ()


_FRAMES = """kprobe: r1 = 0
*(u64 *)(r10 - 400) = r1
call f
exit
f:
r1 = 0
*(u64 *)(r10 - 400) = r1
r0 = 0
exit"""


def _indexed(*lines: str) -> str:
    """A probe that is taken if r0 is known to be within 0..15 behind `lines`; r6 is a number of three bits."""
    start = ("*(u64 *)(r10 - 8) = 0", "*(u64 *)(r10 - 16) = 0", "call get_prandom_u32", "r0 &= 7", "r6 = r0",
             "call get_prandom_u32")  # fmt: skip
    end = ("r2 = r10", "r2 += r0", "r0 = *(u8 *)(r2 - 16)", "out:", "r0 = 0", "exit")
    return "\n".join((*start, *lines, *end))


def _dead(*lines: str) -> str:
    """A probe that is taken if the jump to `dead` in `lines` is known not to be."""
    return "\n".join(("call get_prandom_u32", *lines, "r0 = 0", "exit", "dead:", "r0 = *(u8 *)(r10 + 8)", "exit"))


_ROWS = (
    # what a program consists of
    Feature("bpf_calls", (4, 16), "f4d7e40a5b71", "functions call one another, at most 8 deep",
            "call f\nexit\nf:\nr0 = 0\nexit"),
    Feature("jmp32", (5, 1), "092ed0968bb6", "jumps compare 32 bits", "w1 = 1\nr0 = 0\nif w1 == 1 goto pc+0\nexit"),
    Feature("million_insns", (5, 2), "c04c0d2b968a", "a million instructions instead of 4096; as many are walked"),
    Feature("map_values", (5, 2), "d8eca5bbb2be", "64-bit loads of addresses in map values: global variables"),
    Feature("bounded_loops", (5, 3), "2589726d12a1", "loops that end are walked; before, every back edge is refused",
            "r0 = 0\nl:\nr0 += 1\nif r0 < 4 goto l\nr0 = 0\nexit"),
    Feature("global_functions", (5, 6), "51c39bb1d5d1", "functions that are not static are verified on their own"),
    Feature("tail_calls_in_functions", (5, 10), "e411901c0b77", "tail calls from functions too"),
    Feature("atomics", (5, 12), "5ffa25502b5a", "atomic operations besides add, and their old values",
            "r1 = 1\n*(u64 *)(r10 - 8) = r1\nr1 = atomic64_fetch_add((u64 *)(r10 - 8), r1)\nr0 = 0\nexit"),
    Feature("callbacks", (5, 13), "69c087ba6225", "helpers call functions of the program"),
    Feature("kfuncs", (5, 13), "e6ac2450d6de", "kernel functions are called by their BTF id"),
    Feature("bpf_loop", (5, 17), "e6f2dd0f8067", "helper bpf_loop", ""),
    Feature("open_coded_iterators", (6, 4), "06accc8779c1", "loops over bpf_iter_* kfuncs"),
    Feature("sign_extension", (6, 6), "1f9a1ea821ff", "sign-extending loads and moves",
            "r1 = 1\nr0 = (s8)r1\nr0 = 0\nexit"),
    Feature("byte_swap", (6, 6), "0845c3db7bf5", "bswap without regard to the machine's order",
            "r0 = 1\nr0 = bswap64 r0\nr0 = 0\nexit"),
    Feature("signed_division", (6, 6), "ec0e2da95f72", "signed division and modulo",
            "r0 = 9\nr0 s/= -2\nr0 = 0\nexit"),
    Feature("gotol", (6, 6), "4cd58e9af8b9", "jumps of 32 bits", "r0 = 0\ngotol out\nr0 = 1\nout:\nr0 = 0\n"
            "if r0 != 0 goto pc-3\nexit"),
    Feature("callback_rounds", (6, 7), "ab5cfac139ab", "callbacks are walked round by round; before, once",
            "", ((6, 6),)),
    Feature("exceptions", (6, 7), "f18b03fabaa9", "bpf_throw"),
    Feature("may_goto", (6, 9), "011832b97b31", "may_goto, which leaves a loop after a while",
            "r0 = 0\nl:\nmay_goto out\ngoto l\nout:\nexit"),
    Feature("address_spaces", (6, 9), "6082b6c328b5", "arenas and the casts between their addresses and user space's"),
    Feature("load_acquire", (6, 15), "880442305a39", "load-acquire and store-release",
            "r1 = 1\n*(u64 *)(r10 - 8) = r1\nr0 = load_acquire((u64 *)(r10 - 8))\nr0 = 0\nexit"),
    # what the verifier follows
    Feature("spin_locks", (5, 1), "d83525ca62cf", "bpf_spin_lock in map values"),
    Feature("constant_spills", (5, 3), "f7cf25b2026d", "a constant is known again after a trip over the stack",
            "r1 = 8\n*(u64 *)(r10 - 8) = r1\nr1 = *(u64 *)(r10 - 8)\nr2 = r10\nr2 += r1\n"
            "r0 = *(u64 *)(r2 - 16)\nr0 = 0\n"
            "exit"),
    Feature("btf_tracing", (5, 5), "9e15db66136a", "tracing programs follow kernel pointers by BTF"),
    Feature("bounds32", (5, 7), "3f50f132d840", "32-bit bounds of registers are tracked on their own"),
    Feature("sleepable", (5, 10), "1e6c62a88215", "programs that may sleep"),
    Feature("variable_stack_access", (5, 12), "01f810ace9ed", "stack is read and written at variable offsets",
            "r1 = 0\n*(u64 *)(r10 - 8) = r1\n*(u64 *)(r10 - 16) = r1\ncall get_prandom_u32\nr0 &= 7\nr1 = r10\n"
            "r1 += r0\n"
            "r0 = *(u8 *)(r1 - 16)\nr0 = 0\nexit"),
    Feature("bounded_spills", (5, 11), "5689d49b71ad", "a bounded number is known again after a trip over the stack",
            "", ((5, 10),)),
    Feature("timers", (5, 15), "b00628b1c7d5", "bpf_timer in map values"),
    Feature("narrow_spills", (5, 16), "354e8f1970f8", "1, 2 and 4-byte spills keep their value",
            "w1 = 8\n*(u32 *)(r10 - 8) = r1\nr1 = *(u32 *)(r10 - 8)\nr2 = r10\nr2 += r1\n"
            "r0 = *(u32 *)(r2 - 16)\nr0 = 0\n"
            "exit"),
    Feature("kptrs", (5, 19), "c0a5a21c25f3", "kernel pointers in map values"),
    Feature("dynptr", (5, 19), "97e03f521050", "dynamic pointers"),
    Feature("trusted_pointers", (6, 2), "3f00c5239344", "arguments of tp_btf, iterators and struct_ops are trusted"),
    Feature("immediate_spills", (6, 3), "ecdf985d7615", "a constant that is stored as an immediate is known again",
            "*(u64 *)(r10 - 8) = 8\nr1 = *(u64 *)(r10 - 8)\nr2 = r10\nr2 += r1\nr0 = *(u64 *)(r2 - 16)\nr0 = 0\nexit",
            ((6, 1),)),
    Feature("uninit_stack_reads", (6, 3), "6715df8d5d24", "the privileged may read stack that was not written",
            "r0 = *(u64 *)(r10 - 8)\nr0 = 0\nexit", ((6, 1),)),
    Feature("context_immediates", (6, 4), "0d80a619c113", "constants are stored into the context without a register",
            "*(u32 *)(r1 + 48) = 1\nr0 = 0\nexit"),
    Feature("constant_left", (6, 4), "953d9f5beaf7", "a jump is decided by ranges with the constant on either side",
            _dead("r0 &= 7", "r1 = 100", "if r1 < r0 goto dead")),
    Feature("equality_by_ranges", (6, 4), "13fbcee55706", "a number beyond a range is not equal to any of it",
            _dead("r0 &= 7", "if r0 == 9 goto dead")),
    Feature("not_equal_bounds", (6, 8), "d028f87517d6", "r != the end of its range narrows the range",
            "call get_prandom_u32\nif r0 > 8 goto out\nif r0 == 8 goto out\nr1 = 0\n*(u64 *)(r10 - 8) = r1\n"
            "r2 = r10\n"
            "r2 += r0\nr0 = *(u8 *)(r2 - 8)\nout:\nr0 = 0\nexit"),
    Feature("range_comparisons", (6, 8), "67420501e868", "two ranges narrow one another",
            _indexed("if r0 > r6 goto out")),
    Feature("narrower_fills", (6, 9), "c1e6148cb4f8", "the low bytes of a spilled number keep its bounds",
            _indexed("*(u64 *)(r10 - 24) = r6", "r0 = *(u32 *)(r10 - 24)")),
    Feature("bitwise_ranges", (6, 10), "138cc42c05d1", "OR, XOR and products of two unknown numbers have bounds",
            _indexed("r0 &= 7", "r0 |= r6")),
    Feature("preempt_disable", (6, 10), "fc7566ad0a82", "sections without preemption"),
    Feature("linked_offsets", (6, 11), "98d7ca374ba4", "copies of a register keep in step when a constant was added",
            "call get_prandom_u32\nr1 = r0\nr1 += 1\nif r0 > 6 goto out\nr2 = 0\n*(u64 *)(r10 - 8) = r2\nr2 = r10\n"
            "r2 += r1\nr0 = *(u8 *)(r2 - 8)\nout:\nr0 = 0\nexit"),
    Feature("fastcall", (6, 12), "5b5f51bff1b6", "spills around calls that clobber nothing are removed"),
    Feature("private_stacks", (6, 13), "a76ab5731e32", "in kprobe and perf programs every function has 512 bytes",
            _FRAMES),
    Feature("constant_keys", (6, 14), "d2102f2f5d75", "looking a constant key up within an array needs no null check"),
    Feature("signed_products", (6, 14), "9aa0ebde0014", "products of negative numbers have bounds",
            _indexed("r6 -= 4", "r6 *= -1", "r6 += 4", "r0 = r6")),
    Feature("negation", (6, 17), "aced132599b3", "a negated range is one, too",
            _indexed("r6 = -r6", "r6 += 7", "r0 = r6")),
    Feature("ranges_across_sign", (6, 17), "00bf8d0c6c9b", "signed and unsigned ranges that overlap once narrow both",
            _indexed("if r0 s> 3 goto out", "if r0 s< -8 goto out", "if r0 < 5 goto out", "r0 += 16"), ((6, 12),)),
    Feature("known_bits_differ", (6, 18), "", "numbers whose known bits differ are not equal",
            _dead("r0 |= 1", "if r0 == 2 goto dead"), ((6, 12),)),
    Feature("sign_forks", (6, 18), "", "-1 or 0 is walked as two paths where AND or OR takes it",
            _indexed("r0 <<= 32", "r0 s>>= 63", "r0 &= -14", "r0 += 14"), ((6, 12),)),
    Feature("byte_order", (6, 18), "", "known bits are known after a change of byte order",
            _indexed("r0 = r6", "r0 = be16 r0", "r0 >>= 8")),
)  # fmt: skip
FEATURES: dict[str, Feature] = {row.name: row for row in _ROWS}
