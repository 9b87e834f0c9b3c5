"""What the messages of verifiers mean, in plain words: the kernel's, of any version, and our own."""

from __future__ import annotations

import re

# Pattern of the verifier's message -> what it means, what to do. First match wins; texts are those of 5.4 to 6.18.
REASONS: tuple[tuple[str, str, str], ...] = (
    (r"invalid access to map value, value_size=(\d+) off=(-?\d+) size=(\d+)",
     "{3} bytes at offset {2} of a map value of {1} bytes are read or written: out of bounds",
     "check the index against the size before the access"),
    (r"operation not permitted: only socket filters", "the loader has none of the capabilities that this type takes",
     "load it with CAP_BPF, and CAP_NET_ADMIN or CAP_PERFMON for what it does"),
    (r"attach target (\S+) is not in the types of this machine's kernel",
     "the types of this machine's kernel have no {1} to attach to",
     "--btf FILE takes those of another kernel; osmia list shows what this one has"),
    (r"attach target (\S+) is not in the kernel's types", "the kernel has no {1} to attach to",
     "see how its name is written there: bpftool btf dump file FILE"),
    (r"points to disabled hook (?:bpf_lsm_)?(\w+)", "since Linux 6.12 the hook {1} takes no BPF programs",
     "use another hook: `osmia list 'lsm:*'` shows them"),
    (r"LSM programs must have a GPL compatible license", "LSM programs are for GPL programs only",
     "declare the license GPL"),
    (r"(\S+)\(\) is not modifiable", "fmod_ret cannot replace what {1}() returns",
     "it takes functions named security_* and those of /sys/kernel/debug/error_injection/list; "
     "fexit sees the results of all"),
    (r"variable ctx access", "which field of the context is used is not known before the program runs",
     "use fixed offsets: choose with `if` or `switch`, and read the field in each branch"),
    (r"pointer arithmetic on (\w+_or_null) prohibited", "arithmetic on a pointer that may be null",
     "compare the pointer with null first, then add to it"),
    (r"invalid access to packet|offset is outside of the packet",
     "packet data is used without comparing it with data_end first",
     "test `data + size > data_end` right before the access"),
    (r"invalid access to memory, mem_size=(\d+) off=(-?\d+) size=(\d+)",
     "{3} bytes at offset {2} of {1} bytes of memory are used: out of bounds", "check the index first"),
    (r"invalid mem access '\w*_or_null'",
     "a pointer that may be null is used", "compare it with null first"),
    (r"invalid mem access '(?:inv|scalar)'", "a number is used as a pointer",
     "read kernel or user memory with bpf_probe_read_kernel or bpf_probe_read_user"),
    (r"R(\d+) !read_ok", "a value is read that was never set on this path", "set the variable on all paths"),
    (r"invalid (?:indirect )?(?:read|access) from stack|invalid read from stack",
     "stack memory is read that was not written, or outside of the 512 bytes", "set the whole buffer to zero first"),
    (r"combined stack size of \d+ calls is (\d+)", "the stack of the call chain is {1} bytes, 512 are allowed",
     "use smaller variables, or keep large data in a per-CPU map"),
    (r"(?:write|invalid) .*stack .*off=", "the access lies outside of the stack's 512 bytes", "check the offset"),
    (r"BPF program is too large\. Processed (\d+) insn|too many (?:insns|states)|"
     r"The sequence of \d+ jumps is too complex",
     "the program is too complex: the verifier gave up walking all its paths",
     "use fewer branches, shorter loops or bpf_loop, or split the program"),
    (r"infinite loop detected", "a loop has no end that the verifier can see",
     "count with a variable that changes every turn and has a fixed limit"),
    (r"back-edge from insn", "loops are not allowed here", "unroll the loop; bounded loops need Linux 5.3"),
    # "unknown func bpf_name#N" (before 6.10) names a helper that the kernel has, for other program types
    (r"program of this type cannot use helper ([\w#]+)|unknown func (bpf_\w+#\d+)",
     "programs of this type may not call the helper {1}{2}", "use another probe type or another helper"),
    (r"unknown func|invalid func", "this kernel has no such helper",
     "a newer kernel is needed: osmia doctor lists what this one has"),
    (r"cannot call GPL-restricted function from non-GPL compatible program", "the helper is for GPL programs only",
     "declare the license GPL"),
    (r"R(\d+) min value is negative",
     "an index or size may be negative", "test it first: `if (n < 0) return 0;`"),
    (r"R(\d+) unbounded memory access|unbounded variable-offset|"
     r"R(\d+) max value is outside of the allowed memory range",
     "an index or size has no upper limit that the verifier can see", "limit it, with `if (i < N)` or a bit mask"),
    (r"math between (\w+) pointer and|pointer arithmetic (?:on|with) (\w+)",
     "arithmetic on a pointer that does not allow it", "compute the offset first, as a number, and check it"),
    (r"R(\d+) type=(\S+) expected=(\S+)", "argument {1} of the helper is {2}, wanted is {3}",
     "pass a pointer of the right kind"),
    (r"Unreleased reference|reference leak", "something acquired is not released on every path",
     "release it (put, submit, discard) on all paths, errors too"),
    (r"At async callback return the register R0", "the callback of a timer has to return 0", "return 0 from it"),
    (r"At callback return the register R0", "a callback returns 0 to go on, and 1 to end the loop",
     "return 0 or 1 from it"),
    (r"At program exit the register R0 has|R0 has value",
     "the return value is outside of what this program type may return",
     "return 0, or a value that the type allows"),
    (r"dereference of modified (\w+) ptr", "a context pointer is used after arithmetic on it",
     "read the field directly from the context"),
    (r"invalid bpf_context access off=(\d+) size=(\d+)",
     "the context has no field of {2} bytes at offset {1} that a program may use here",
     "use a field that this hook has"),
    (r"unreachable insn|jump out of range|last insn is not an exit",
     "the code has parts that are never reached or run off its end",
     "end every path with exit; where a compiler made the code, please report it"),
    (r"BPF_ATOMIC stores into R\d+ (\w+) is not allowed",
     "atomic operations are for map values and the stack, not for {1}",
     "add without __sync_: `*p = *p + 1;`"),
    (r"R(\d+) is not a known constant", "the size that R{1} holds has to be a constant",
     "write a number, the greatest that may be needed; bpf_ringbuf_output() takes sizes that are not known before"),
    (r"helper access to the packet is not allowed", "the helper cannot read the packet where it lies",
     "copy the bytes into an array, with bpf_xdp_load_bytes() or bpf_skb_load_bytes(), and pass that"),
    (r"misaligned (?:stack|value|packet|context) access", "the access is not aligned to its size",
     "align the field, or read it byte by byte"),
    (r"leaks addr|R\d leaks|pointer comparison prohibited", "a kernel address would leak to user space",
     "run with CAP_PERFMON"),
    (r"calling kernel function (\w+) is not allowed", "the kfunc {1} is not allowed for this program type",
     "use another program type"),
    (r"only read from bpf_array is supported|write into map forbidden", "the map is read-only", "write to another map"),
    (r"sleepable|might sleep|only sleepable", "a sleeping function is called where sleeping is not allowed",
     "mark the program sleepable (section suffix .s), where the hook allows it"),
    (r"attach_btf_id|Attach_to|attach to", "the kernel cannot attach such a program to this function",
     "see `osmia list` for what can be probed"),
)  # fmt: skip


def reason(text: str) -> tuple[str, str]:
    """(plain words, remedy) for a verifier message; empty strings when it is not a known one."""
    for pattern, plain, remedy in REASONS:
        match = re.search(pattern, text)
        if match:
            found = (match.group(0), *(g or "" for g in match.groups()), *[""] * 4)
            return plain.format(*found), remedy
    return "", ""
