"""CPU registers as programs find them in their context: byte offsets in pt_regs (x86-64) and user_pt_regs (arm64)."""

from __future__ import annotations

_X86_64 = [
    "r15",
    "r14",
    "r13",
    "r12",
    "bp",
    "bx",
    "r11",
    "r10",
    "r9",
    "r8",
    "ax",
    "cx",
    "dx",
    "si",
    "di",
    "orig_ax",
    "ip",
    "cs",
    "flags",
    "sp",
    "ss",
]

# arch/x86/include/asm/ptrace.h, arch/arm64/include/uapi/asm/ptrace.h; "pc" names the instruction pointer on both,
# arm64's x0..x30 are its r0..r30 and lr is the last of them.
PT_REGS: dict[str, dict[str, int]] = {
    "x86_64": {**{name: 8 * i for i, name in enumerate(_X86_64)}, "pc": 8 * _X86_64.index("ip")},
    "aarch64": {
        **{f"{letter}{i}": 8 * i for letter in "rx" for i in range(31)},
        "lr": 240,
        "sp": 248,
        "pc": 256,
        "pstate": 264,
    },
}
