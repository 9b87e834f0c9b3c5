"""The table of builtins, functions, map functions and statements of the bpftrace language.

The checker is driven by it and the language reference is generated from it. A name without parameters that are
required may be written with or without parentheses.
"""

from __future__ import annotations

from ..._data import Data
from .types import BOOL, INT64, NONE, UINT8, UINT32, UINT64, Type, string

TYPE_CHECKING = False

SYNC, ASYNC, COMPILE = "sync", "async", "compile time"

# Probe types of which several builtins are limited to a group.
REGISTERS = (
    "kprobe", "kretprobe", "uprobe", "uretprobe", "usdt", "profile", "interval", "software", "hardware", "watchpoint",
)  # fmt: skip
USER_PROBES = ("uprobe", "uretprobe", "usdt")
SIGNAL_PROBES = (
    "kprobe", "kretprobe", "uprobe", "uretprobe", "usdt", "tracepoint", "profile", "fentry", "fexit", "rawtracepoint",
)  # fmt: skip


class Builtin(Data):
    """One row.

    `category` is builtin, function, map function (its result can only be assigned to a map) or statement.
    `signature` lists the forms as shown in the reference. `params` describes the parameters to the checker, one
    word each: a kind (int, string, map, key, pointer, variable, name, type, any), then "!" if it must be a literal,
    "?" if it may be left out; "..." for any number more. `returns` is the type of the result where it is always the
    same.
    `probes` are the probe types it can be used in, () for all; `unsafe` ones need --unsafe.
    """

    name: str
    category: str
    signature: tuple[str, ...]
    doc: str
    params: str = ""
    returns: Type | None = None
    probes: tuple[str, ...] = ()
    unsafe: bool = False
    mode: str = SYNC

    @property
    def parameters(self) -> list[str]:
        return self.params.split()

    @property
    def at_least(self) -> int:
        """Arguments that must be given."""
        return sum(1 for p in self.params.split() if p != "..." and not p.endswith("?"))

    @property
    def at_most(self) -> int:
        return 128 if "..." in self.params else len(self.params.split())


def _type(kind: str, size: int = 8, signed: bool = False) -> Type:
    return Type(kind, size, signed)


COMM = string(16)

_ROWS = (
    # ------------------------------------------------------------ context
    Builtin("pid", "builtin", ("uint32 pid", "uint32 pid([curr_ns|init])"),
        "Process id (thread group id) of the running thread, as the PID namespace of the tracer sees it, or with "
        "`init` as the initial namespace does.", "name?", UINT32),
    Builtin("tid", "builtin", ("uint32 tid", "uint32 tid([curr_ns|init])"),
        "Thread id of the running thread, as the PID namespace of the tracer sees it, or with `init` as the initial "
        "namespace does.", "name?", UINT32),
    Builtin("uid", "builtin", ("uint64 uid",), "Real user id of the running thread in the initial user namespace.",
        "", UINT64),
    Builtin("gid", "builtin", ("uint64 gid",), "Real group id of the running thread in the initial user namespace.",
        "", UINT64),
    Builtin("username", "builtin", ("username_t username",),
        "Name of the running thread's user, looked up when it is printed.", "", _type("username")),
    Builtin("comm", "builtin", ("string comm", "string comm(uint32 pid)"),
        "Name of the running thread (at most 15 characters), or of the thread with this id.", "int?", COMM),
    Builtin("ppid", "builtin", ("uint32 ppid", "uint32 ppid(struct task_struct *task)"),
        "Process id of the parent of the running thread or of the task.", "any?", UINT32),
    Builtin("pcomm", "builtin", ("string pcomm", "string pcomm(struct task_struct *task)"),
        "Name of the parent of the running thread or of the task.", "any?", COMM),
    Builtin("leader_comm", "builtin", ("string leader_comm", "string leader_comm(struct task_struct *task)"),
        "Name of the leader of the thread group of the running thread or of the task.", "any?", COMM),
    Builtin("leader_tid", "builtin", ("uint32 leader_tid", "uint32 leader_tid(struct task_struct *task)"),
        "Thread id of the leader of the thread group of the running thread or of the task.", "any?", UINT32),
    Builtin("cpu", "builtin", ("uint64 cpu",), "Number of the processor that runs the probe.", "", UINT64),
    Builtin("ncpus", "builtin", ("uint64 ncpus",), "How many processors can ever be online.", "", UINT64),
    Builtin("numaid", "builtin", ("uint64 numaid",), "Number of the NUMA node that runs the probe.", "", UINT64),
    Builtin("curtask", "builtin", ("struct task_struct *curtask",),
        "The task_struct of the running thread; its fields can be read at once.", ""),
    Builtin("cgroup", "builtin", ("uint64 cgroup",), "Id of the running thread's cgroup (version 2).", "", UINT64),
    Builtin("cpid", "builtin", ("uint32 cpid",),
        "Process id of the command given with -c, 0 with a warning if there is none.", "", UINT32),
    Builtin("has_cpid", "builtin", ("bool has_cpid",), "Whether a command was given with -c.", "", BOOL, mode=COMPILE),
    Builtin("elapsed", "builtin", ("uint64 elapsed",), "Nanoseconds since tracing started.", "", UINT64),
    Builtin("nsecs", "builtin", ("uint64 nsecs", "uint64 nsecs(boot|monotonic|tai|sw_tai)"),
        "Time in nanoseconds. `boot` (the default) counts from boot with the time spent suspended, `monotonic` without "
        "it; `tai` is International Atomic Time, and `sw_tai` approximates it on kernels before 6.1.", "name?", UINT64),
    Builtin("jiffies", "builtin", ("uint64 jiffies",), "The kernel's tick counter.", "", UINT64),
    Builtin("rand", "builtin", ("uint32 rand",), "A pseudo-random number.", "", UINT32),
    Builtin("usermode", "builtin", ("uint8 usermode",),
        "1 if the probe interrupted user code, 0 if it interrupted the kernel (x86-64).", "", UINT8),
    Builtin("func", "builtin", ("ksym_t func", "usym_t func"), "The traced function, as a symbol.", "",
        probes=("kprobe", "kretprobe", "fentry", "fexit", "uprobe", "uretprobe")),
    Builtin("probe", "builtin", ("string probe",), "Full name of the probe that fired.", "", mode=COMPILE),
    Builtin("probetype", "builtin", ("string probetype",),
        "Type of the probe that fired; that of `begin` and `end` is `special`.", "", mode=COMPILE),
    Builtin("retval", "builtin", ("uint64 retval",),
        "What the traced function returned. Its type is known in `fexit`; elsewhere it is an integer to be cast.", "",
        probes=("kretprobe", "uretprobe", "fentry", "fexit")),
    Builtin("args", "builtin", ("struct args",),
        "The arguments of the probe as a struct; `osmia list -v PROBE` shows its fields.", "",
        probes=("tracepoint", "rawtracepoint", "fentry", "fexit", "uprobe")),
    Builtin("arg0", "builtin", ("uint64 arg0", "... uint64 argN"),
        "Argument number N of the traced function or probe, counted from 0, as an integer.", "", UINT64,
        ("kprobe", "uprobe", "usdt", "rawtracepoint")),
    Builtin("ctx", "builtin", ("void *ctx",),
        "The context that the kernel hands to the program: registers, a perf event, or the fields of an iterator.", "",
        probes=("kprobe", "kretprobe", "uprobe", "uretprobe", "usdt", "profile", "interval", "software", "hardware",
                "watchpoint", "iter")),
    Builtin("config", "builtin", ("record config",), "The configuration variables in force, as a record.", "",
        mode=COMPILE),
    Builtin("reg", "function", ("uint64 reg(const string name)",),
        "A register of the interrupted code by its name on this architecture, such as `ip` or `sp`.", "string!", UINT64,
        REGISTERS),
    # ------------------------------------------------------------ stacks and symbols
    Builtin("kstack", "builtin", ("kstack_t kstack", "kstack_t kstack([mode, ][int limit])"),
        "The kernel stack. `mode` is how it prints: `bpftrace`, `perf` or `raw`; `limit` is the number of frames, 127 "
        "if left out.", "any? any?"),
    Builtin("ustack", "builtin", ("ustack_t ustack", "ustack_t ustack([mode, ][int limit])"),
        "The user stack, by frame pointers (at the first instruction of a function, or in one that sets up no frame, "
        "its direct caller is missing). `mode` is `bpftrace`, `perf`, `raw` or `build_id`; `limit` is the number "
        "of frames, 127 if left out.", "any? any?"),
    Builtin("ksym", "function", ("ksym_t ksym(uint64 addr)",), "The kernel symbol that holds an address.", "any",
        _type("ksym")),
    Builtin("usym", "function", ("usym_t usym(uint64 addr)",),
        "The symbol of the running process that holds an address.", "any", _type("usym", 16)),
    Builtin("kaddr", "function", ("uint64 kaddr(const string name)",),
        "Address of a kernel symbol.", "string!", UINT64, mode=COMPILE),
    Builtin("percpu_kaddr", "function", ("uint64 percpu_kaddr(const string name[, int cpu])",),
        "Address of a per-CPU variable of the kernel for this or the given processor; 0 for a processor that is not "
        "there.", "string! int?", UINT64),
    Builtin("uaddr", "function", ("uint64 *uaddr(const string name)",),
        "Address of a variable of the traced binary; the pointer's type follows the size of the symbol.", "string!",
        probes=USER_PROBES),
    # ------------------------------------------------------------ memory and strings
    Builtin("str", "function", ("string str(char *data[, uint64 length])",),
        "Copy a NUL-terminated string from memory, at most `length` bytes or what `max_strlen` allows. A number that "
        "is written out is itself the text: for an address, write `str((int8 *)0x404010)`.", "any int?"),
    Builtin("buf", "function", ("buffer buf(void *data[, uint64 length])",),
        "Copy `length` bytes from memory; the length of an array is known. Print it with %r, %rx or %rh.", "any int?"),
    Builtin("kptr", "function", ("T *kptr(T *pointer)",), "The same pointer, to be read as kernel memory.", "any"),
    Builtin("uptr", "function", ("T *uptr(T *pointer)",), "The same pointer, to be read as user memory.", "any"),
    Builtin("memcmp", "function", ("int64 memcmp(left, right, uint64 count)",),
        "Compare the first bytes of two strings, arrays or buffers: 0 if they are equal.", "any any int!", INT64),
    Builtin("strncmp", "function", ("uint64 strncmp(string a, string b, uint64 n)",),
        "Compare at most `n` characters of two strings: 0 if they are equal.", "string string int!", UINT64),
    Builtin("strcontains", "function", ("bool strcontains(string haystack, string needle)",),
        "Whether a string holds another.", "string string", BOOL),
    Builtin("strstr", "function", ("int64 strstr(string haystack, string needle)",),
        "Where a string first holds another, counted from 0, or -1.", "string string", INT64),
    Builtin("strlen", "function", ("uint64 strlen(string s)",),
        "Length of a string, a character array or what a character pointer points to.", "any", UINT64),
    Builtin("strcap", "function", ("int64 strcap(string s)",),
        "How many bytes a string or character array can hold; the length of what a pointer points to.", "any", INT64),
    Builtin("str_concat", "function", ("string str_concat(string a, string b)",), "Join two strings.", "any any"),
    Builtin("bswap", "function", ("uintN bswap(uintN n)",), "Reverse the order of an integer's bytes.", "int"),
    Builtin("ntop", "function", ("inet ntop([int af, ]addr)",),
        "An IPv4 address (an integer or 4 bytes) or IPv6 address (16 bytes) to print; `af` names the family where the "
        "type does not.", "any any?", _type("inet", 24)),
    Builtin("pton", "function", ("uint8[4] pton(const string addr)", "uint8[16] pton(const string addr)"),
        "The bytes of an address written as text.", "string!", mode=COMPILE),
    Builtin("macaddr", "function", ("macaddr_t macaddr(char mac[6])",), "A hardware address to print.", "any",
        _type("mac", 6)),
    Builtin("path", "function", ("string path(struct path *path[, int size])",),
        "Full path of a file, in the functions where the kernel allows to ask for it.", "any int!?",
        probes=("fentry", "fexit", "iter")),
    Builtin("len", "function", ("int64 len(map m)", "int64 len(stack s)"),
        "Number of keys of a map, or of frames of a stack.", "any", INT64),
    Builtin("container_of", "function", ("T *container_of(pointer, T, member)",),
        "The struct that holds the member that the pointer points to.", "any type any"),
    Builtin("default_str_length", "builtin", ("uint64 default_str_length",),
        "Size of a string when nothing else says it.", "", mode=COMPILE),
    # ------------------------------------------------------------ names
    Builtin("strerror", "function", ("strerror_t strerror(int error)",), "Text of an error number.", "int",
        _type("strerror")),
    Builtin("signal_name", "function", ("signal_name_t signal_name(int signal)",), "Name of a signal.", "int",
        _type("signal_name")),
    Builtin("syscall_name", "function", ("syscall_name_t syscall_name(int number)",), "Name of a system call.", "int",
        _type("syscall_name")),
    Builtin("cgroupid", "function", ("uint64 cgroupid(const string path)",), "Id of the cgroup at a path.", "string!",
        UINT64, mode=COMPILE),
    Builtin("cgroup_path", "function", ("cgroup_path_t cgroup_path(uint64 id[, const string filter])",),
        "Path of a cgroup, looked up when it is printed; `filter` limits the hierarchies by a pattern.", "int string!?",
        _type("cgroup_path")),
    Builtin("strftime", "function", ("timestamp strftime(const string format, uint64 nsecs)",),
        "A time stamp to print; the format is that of strftime(3), and %f prints microseconds.", "string! int"),
    # ------------------------------------------------------------ output
    Builtin("printf", "function", ("void printf(const string format, ...)",),
        "Print values as the format says: C's conversions, %r %rx %rh for buffers, %gr for GFP flags, %s for anything.",
        "string! ...", NONE, mode=ASYNC),
    Builtin("print", "function", ("void print(map m[, uint64 top[, uint64 div]])", "void print(value)"),
        "Print a map (its `top` largest entries, divided by `div`) or a value.", "any int!? int!?", NONE, mode=ASYNC),
    Builtin("errorf", "function", ("void errorf(const string format, ...)",),
        "Print as `printf`, as an error with its place in the script.", "string! ...", NONE, mode=ASYNC),
    Builtin("warnf", "function", ("void warnf(const string format, ...)",),
        "Print as `printf`, as a warning with its place in the script.", "string! ...", NONE, mode=ASYNC),
    Builtin("debugf", "function", ("void debugf(const string format, ...)",),
        "Write to the kernel's trace pipe, with at most three arguments; for debugging only.", "string! ...", NONE),
    Builtin("cat", "function", ("void cat(const string format, ...)",), "Print the file whose name the format gives.",
        "string! ...", NONE, mode=ASYNC),
    Builtin("system", "function", ("void system(const string format, ...)",),
        "Run the shell command that the format gives and print its output.", "string! ...", NONE, unsafe=True,
        mode=ASYNC),
    Builtin("join", "function", ("void join(char *array[][, const string separator])",),
        "Print an array of strings in one line.", "any string!?", NONE, mode=ASYNC),
    Builtin("time", "function", ("void time([const string format])",),
        "Print the time of day when the event is handled, by default as %H:%M:%S.", "string!?", NONE, mode=ASYNC),
    Builtin("exit", "function", ("void exit([int code])",),
        "End tracing, run the `end` probes, print the maps.", "int?", NONE, mode=ASYNC),
    Builtin("fail", "function", ("void fail(const string format, ...)",),
        "Refuse to compile with this message where the call is not in a branch that `comptime` left out.",
        "string! ...", NONE, mode=COMPILE),
    Builtin("assert", "function", ("void assert(bool condition, string message)",),
        "End tracing with an error if the condition does not hold.", "any string", NONE, mode=ASYNC),
    # ------------------------------------------------------------ maps
    Builtin("clear", "function", ("void clear(map m)",), "Delete all keys of a map.", "map", NONE, mode=ASYNC),
    Builtin("zero", "function", ("void zero(map m)",), "Set all values of a map to 0.", "map", NONE, mode=ASYNC),
    Builtin("delete", "function", ("bool delete(map m, key)", "bool delete(map m)", "bool delete(m[key])"),
        "Delete a key of a map or the value of a map without keys; false if there was none.", "any key?", BOOL),
    Builtin("has_key", "function", ("bool has_key(map m, key)",), "Whether a map has a key.", "map key", BOOL),
    Builtin("find", "function", ("bool find(map m, key, $variable)",),
        "Whether a map has a key, and if so its value in the variable.", "map key variable", BOOL),
    # ------------------------------------------------------------ effects
    Builtin("signal", "function", ("void signal(const string name)", "void signal(uint32 number)"),
        "Send a signal to the running process.", "any", NONE, SIGNAL_PROBES, unsafe=True),
    Builtin("signal_thread", "function", ("void signal_thread(const string name)", "void signal_thread(uint32 number)"),
        "Send a signal to the running thread.", "any", NONE, SIGNAL_PROBES, unsafe=True),
    Builtin("override", "function", ("void override(uint64 value)",),
        "Return at once from the probed function with this value, where the kernel allows error injection.", "int",
        NONE, ("kprobe",), unsafe=True),
    Builtin("write_user", "function", ("bool write_user(T *to, T *from, uint32 length)",),
        "Write to the memory of the running process.", "any any int", BOOL, unsafe=True),
    Builtin("skboutput", "function",
        ("uint32 skboutput(const string path, struct sk_buff *skb, uint64 length, uint64 offset)",),
        "Write a packet to a pcap file.", "string! pointer int int", UINT32, ("fentry", "fexit", "rawtracepoint")),
    Builtin("socket_cookie", "function", ("uint64 socket_cookie(struct sock *sk)",),
        "The number by which the kernel names a socket for its whole life.", "pointer", UINT64,
        ("fentry", "fexit", "rawtracepoint", "iter")),
    Builtin("unwatch", "function", ("void unwatch(uint64 addr)",), "Remove a watchpoint.", "int", NONE, mode=ASYNC),
    # ------------------------------------------------------------ compile time
    Builtin("sizeof", "function", ("uint64 sizeof(type)", "uint64 sizeof(expression)"),
        "Bytes that a type or an expression takes; the expression is not evaluated.", "any", mode=COMPILE),
    Builtin("offsetof", "function", ("uint64 offsetof(struct, field)", "uint64 offsetof(expression, field)"),
        "Offset of a field, or of a field of a field, in bytes.", "any any", mode=COMPILE),
    Builtin("typeinfo", "function", ("record typeinfo(type)", "record typeinfo(expression)"),
        "`btf_id`, `base_type` and `full_type` of a type.", "any", mode=COMPILE),
    Builtin("static_assert", "function", ("void static_assert(bool condition, const string message)",),
        "Refuse to compile with this message if the condition does not hold.", "any string!", NONE, mode=COMPILE),
    Builtin("assert_str", "function", ("void assert_str(expression)",),
        "Refuse to compile if the expression is not a string, character array or character pointer.", "any", NONE,
        mode=COMPILE),
    Builtin("is_array", "function", ("bool is_array(expression)",), "Whether it is an array.", "any", BOOL,
        mode=COMPILE),
    Builtin("is_integer", "function", ("bool is_integer(expression)",), "Whether it is an integer.", "any", BOOL,
        mode=COMPILE),
    Builtin("is_unsigned_integer", "function", ("bool is_unsigned_integer(expression)",),
        "Whether it is an unsigned integer.", "any", BOOL, mode=COMPILE),
    Builtin("is_ptr", "function", ("bool is_ptr(expression)",), "Whether it is a pointer.", "any", BOOL, mode=COMPILE),
    Builtin("is_str", "function", ("bool is_str(expression)",), "Whether it is a string.", "any", BOOL, mode=COMPILE),
    Builtin("is_literal", "function", ("bool is_literal(expression)",), "Whether it is a literal.", "any", BOOL,
        mode=COMPILE),
    Builtin("is_scalar", "function", ("bool is_scalar(map m)",), "Whether a map has no keys.", "map", BOOL,
        mode=COMPILE),
    Builtin("is_err", "function", ("bool is_err(void *pointer)",),
        "Whether a pointer of the kernel holds an error number.", "any", BOOL),
    Builtin("kfunc_exist", "function", ("bool kfunc_exist(const string name)",), "Whether the kernel has a kfunc.",
        "string!", BOOL, mode=COMPILE),
    Builtin("kfunc_allowed", "function", ("bool kfunc_allowed(const string name)",),
        "Whether this type of probe may call a kfunc.", "string!", BOOL, mode=COMPILE),
    # ------------------------------------------------------------ map functions
    Builtin("count", "map function", ("count_t count()",), "Count how often it is called, per CPU.", ""),
    Builtin("sum", "map function", ("sum_t sum(int64 n)",), "Add up, per CPU.", "int"),
    Builtin("min", "map function", ("min_t min(int64 n)",), "Keep the least value.", "int"),
    Builtin("max", "map function", ("max_t max(int64 n)",), "Keep the greatest value.", "int"),
    Builtin("avg", "map function", ("avg_t avg(int64 n)",), "Average of the values.", "int"),
    Builtin("stats", "map function", ("stats_t stats(int64 n)",), "Count, average and total of the values.", "int"),
    Builtin("hist", "map function", ("hist_t hist(int64 n[, const int k])",),
        "Histogram with buckets that double in width; each is split in 2^k, 0 <= k <= 5.", "int int!?"),
    Builtin("lhist", "map function", ("lhist_t lhist(int64 n, const int min, const int max, const int step)",),
        "Histogram with buckets of width `step` from `min` to `max`, and one at each end for the rest.",
        "int int! int! int!"),
    Builtin("tseries", "map function",
        ("tseries_t tseries(int64 n, const int interval_ns, const int intervals[, const string aggregation])",),
        "The last value (or avg, max, min, sum) of each of the latest intervals.", "int int! int! string!?"),
    # ------------------------------------------------------------ statements
    Builtin("if", "statement", ("if (condition) { ... } else if (condition) { ... } else { ... }",),
        "Run the block whose condition is not 0, NULL or false. `if comptime (condition)` decides when compiling."),
    Builtin("for", "statement", ("for ($i : start..end) { ... }", "for ($kv : @map) { ... }"),
        "Run the block for each integer from `start` up to but not including `end`, or for each entry of a map: "
        "`$kv.0` is its key, `$kv.1` its value."),
    Builtin("while", "statement", ("while (condition) { ... }",),
        "Repeat the block. Deprecated: the kernel must be able to see that it ends, use `for`."),
    Builtin("unroll", "statement", ("unroll (n) { ... }",),
        "Repeat the block n times (1 to 100), known when compiling."),
    Builtin("let", "statement", ("let $x[: type][ = value];", "let @m = hash(max_entries);"),
        "Declare a variable with or without a type, or, outside of probes, a map with its kind (hash, lruhash, "
        "percpuhash, percpulruhash) and size."),
    Builtin("break", "statement", ("break;",), "Leave the loop."),
    Builtin("continue", "statement", ("continue;",), "Go on with the next round of the loop."),
    Builtin("return", "statement", ("return;", "return value;"),
        "Leave the probe, not tracing. The value is the program's return value."),
)  # fmt: skip

TABLE: dict[str, Builtin] = {row.name: row for row in _ROWS}

# Names that are values by themselves: the rows that need no argument.
NAMES = frozenset(r.name for r in _ROWS if r.category in ("builtin",))
MAP_FUNCTIONS = frozenset(r.name for r in _ROWS if r.category == "map function")
# Functions whose first argument is a format string and the others what it prints.
FORMATTED = frozenset(("printf", "errorf", "warnf", "debugf", "cat", "system", "fail"))

STACK_MODES = ("bpftrace", "perf", "raw", "build_id")
CLOCKS = ("boot", "monotonic", "tai", "sw_tai")
MAP_KINDS = ("hash", "lruhash", "percpuhash", "percpulruhash")
MAX_STACK = 127
MAX_STACK_LIMIT = 1024


def is_argument(name: str) -> bool:
    """`arg0`, `arg12`."""
    return name[:3] == "arg" and name[3:].isdigit() and (name == "arg0" or name[3] != "0")
