"""System-call workloads: `activity.py WHAT [ARG]...` does WHAT an exact number of times and prints its counts.

It is plain Python so that tests need no compiler. Between the gate and the result, each workload makes the system
calls that it reports, and the interpreter adds none of those names (it may add mmap, munmap and brk). Outside of that
stand the end of the gate's read (file descriptor 0, 1 byte) and the write of the result (file descriptor 1).
"""

import json
import mmap
import os
import resource
import signal
import socket
import sys
import time

PAGE = mmap.PAGESIZE
COMM = "osmia-work"


def gate():
    """Say that all is set up, and wait until the test has attached its probes."""
    os.write(1, json.dumps({"ready": os.getpid()}).encode() + b"\n")
    os.read(0, 1)


def opens(path, count):
    """`count` openat of `path` for reading, each closed again; a path that is not there counts as failed."""
    count, failed, errno = int(count), 0, 0
    gate()
    for _ in range(count):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as e:
            failed += 1
            errno = e.errno
    return {"openat": count, "failed": failed, "errno": errno, "path": path}


def reads(size, count):
    """`count` reads of `size` bytes from /dev/zero."""
    size, count = int(size), int(count)
    fd = os.open("/dev/zero", os.O_RDONLY)
    gate()
    total = sum(len(os.read(fd, size)) for _ in range(count))
    return {"read": count, "bytes": total, "fd": fd}


def writes(size, count):
    """`count` writes of `size` bytes to /dev/null."""
    size, count = int(size), int(count)
    fd = os.open("/dev/null", os.O_WRONLY)
    data = b"x" * size
    gate()
    total = sum(os.write(fd, data) for _ in range(count))
    return {"write": count, "bytes": total, "fd": fd}


def sizes(*values):
    """One write to /dev/null of each size given: a known distribution for histograms."""
    wanted = [int(v) for v in values]
    fd = os.open("/dev/null", os.O_WRONLY)
    data = b"x" * max(wanted)
    gate()
    for size in wanted:
        os.write(fd, data[:size])
    return {"write": len(wanted), "bytes": sum(wanted), "sizes": wanted, "fd": fd}


def speaks(*messages):
    """One write to /dev/null of each message, given in hexadecimal."""
    wanted = [bytes.fromhex(m) for m in messages]
    fd = os.open("/dev/null", os.O_WRONLY)
    gate()
    for message in wanted:
        os.write(fd, message)
    return {"write": len(wanted), "fd": fd}


def becomes(uid, gid, count):
    """Become another user, then `count` calls of getppid."""
    count = int(count)
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    gate()
    for _ in range(count):
        parent = os.getppid()
    return {"getppid": count, "ppid": parent}


def forks(count):
    """`count` children, one after another; child number i exits with status i % 7."""
    count = int(count)
    pids, statuses = [], []
    gate()
    for i in range(count):
        pid = os.fork()
        if not pid:
            os._exit(i % 7)
        pids.append(pid)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return {"fork": count, "exit": count, "pids": pids, "statuses": statuses}


def execs(count, *argv):
    """`count` children that execve ARGV (default /bin/true with a marker argument)."""
    count = int(count)
    args = list(argv) or ["/bin/true", "osmia-exec-marker"]
    pids = []
    gate()
    for _ in range(count):
        pid = os.fork()
        if not pid:
            os.execv(args[0], args)
        pids.append(pid)
        os.waitpid(pid, 0)
    return {"fork": count, "execve": count, "argv": args, "pids": pids}


def connects(count):
    """`count` TCP connections over loopback, each accepted and closed at both ends."""
    count = int(count)
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()
    gate()
    for _ in range(count):
        with socket.socket() as client:
            client.connect(address)
            server.accept()[0].close()
    return {"connect": count, "accept4": count, "address": address[0], "port": address[1]}


def datagrams(size, count):
    """`count` UDP datagrams of `size` bytes over loopback, each received before the next is sent."""
    size, count = int(size), int(count)
    receiver, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(("127.0.0.1", 0))
    data = b"x" * size
    gate()
    total = 0
    for _ in range(count):
        sender.sendto(data, receiver.getsockname())
        total += len(receiver.recv(size))
    return {"sendto": count, "recvfrom": count, "bytes": total}


def refusals(count):
    """`count` TCP connections over loopback to a port where nobody listens: the kernel drops each SYN."""
    count, refused = int(count), 0
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken but not listening, so that nobody else can
        gate()
        for _ in range(count):
            with socket.socket() as client:
                refused += client.connect_ex(unused.getsockname()) != 0
        return {"connect": count, "refused": refused, "port": unused.getsockname()[1]}


def faults(count):
    """First touch of `count` anonymous pages. `minflt` is the kernel's own count over the same time."""
    count = int(count)
    memory = mmap.mmap(-1, count * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    gate()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for offset in range(0, count * PAGE, PAGE):
        memory[offset] = 1
    return {"pages": count, "minflt": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before}


def burns(milliseconds):
    """Use the CPU for so many milliseconds of CPU time, all in user space."""
    gate()
    start = time.process_time_ns()
    end = start + int(milliseconds) * 1_000_000
    while time.process_time_ns() < end:
        sum(range(1000))
    return {"cpu_ns": time.process_time_ns() - start}


def naps(count, milliseconds):
    """`count` sleeps (clock_nanosleep) of so many milliseconds. `switches` is the kernel's own count over that time."""
    count = int(count)
    gate()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.monotonic_ns()
    for _ in range(count):
        time.sleep(int(milliseconds) / 1000)
    wall = time.monotonic_ns() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    switches = after.ru_nvcsw - before.ru_nvcsw + after.ru_nivcsw - before.ru_nivcsw
    return {"clock_nanosleep": count, "wall_ns": wall, "switches": switches}


def signals(count):
    """`count` SIGUSR1 to itself, all handled."""
    count, seen = int(count), []
    signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    gate()
    for _ in range(count):
        os.kill(os.getpid(), signal.SIGUSR1)
    return {"kill": count, "handled": len(seen)}


def dies(number):
    """End by signal `number` right after the gate: no result follows."""
    gate()
    signal.signal(int(number), signal.SIG_DFL) if int(number) != signal.SIGKILL else None
    os.kill(os.getpid(), int(number))
    return {}


def waits(*_args):
    """Do nothing until killed: a live process for `-p PID` and for stacks of a process that goes."""
    gate()
    signal.pause()
    return {}


WORKLOADS = (
    opens, reads, writes, sizes, speaks, becomes, forks, execs, connects, refusals, datagrams, faults, burns, naps,
    signals, dies, waits,
)  # fmt: skip


def main():
    with open("/proc/self/comm", "w") as comm:
        comm.write(COMM)
    what, *args = sys.argv[1:]
    done = next(w for w in WORKLOADS if w.__name__ == what)(*args)
    os.write(1, json.dumps({"pid": os.getpid(), "comm": COMM, **done}).encode() + b"\n")


if __name__ == "__main__":
    main()
