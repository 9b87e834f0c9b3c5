# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""Scripts of the size that people keep in files: they compile, and the verifier takes every program."""

from __future__ import annotations

import pytest

import osmia

SCRIPTS = {
    "slow opens": """
        begin { printf("%-10s %-7s %-16s %8s %s\\n", "TIME", "PID", "COMM", "US", "FILE"); @limit = (uint64)$1; }
        tracepoint:syscalls:sys_enter_open, tracepoint:syscalls:sys_enter_openat, tracepoint:syscalls:sys_enter_openat2
        { @file[tid] = args.filename; @began[tid] = nsecs; }
        tracepoint:syscalls:sys_exit_open, tracepoint:syscalls:sys_exit_openat, tracepoint:syscalls:sys_exit_openat2
        /@began[tid]/
        {
            $took = (nsecs - @began[tid]) / 1000;
            $result = args.ret;
            $error = $result < 0 ? -$result : 0;
            if ($took > @limit) {
                time("%H:%M:%S   ");
                printf("%-7d %-16s %8d %s (%s)\\n", pid, comm, $took, str(@file[tid]), strerror($error));
            }
            @us[comm] = hist($took); @errors[comm, $error] = count(); @slowest[str(@file[tid])] = max($took);
            delete(@file, tid); delete(@began, tid);
        }
        interval:s:5 { print(@us); clear(@us); print(@slowest, 5); clear(@slowest); }
        end { clear(@file); clear(@began); clear(@limit); }
    """,
    "who kills whom": """
        #define FATAL(s) ((s) == 9 || (s) == 15)
        struct note { int signal; int target; char why[20]; };
        begin { @names[1] = "HUP"; @names[2] = "INT"; @names[9] = "KILL"; @names[15] = "TERM"; }
        tracepoint:syscalls:sys_enter_kill, tracepoint:syscalls:sys_enter_tgkill
        { @sent[tid] = ((int64)args.pid, (int32)args.sig, nsecs); }
        tracepoint:syscalls:sys_exit_kill, tracepoint:syscalls:sys_exit_tgkill
        {
            if (!has_key(@sent, tid)) { return; }
            let $s = @sent[tid];
            let $name = has_key(@names, $s.1) ? @names[$s.1] : "other";
            printf("%s(%d) -> %d: %s = %d after %d ns\\n", comm, pid, $s.0, $name, args.ret, nsecs - $s.2);
            @by[comm, $name, args.ret == 0] = count();
            if (FATAL($s.1) && $name != "other") { @fatal[strftime("%H:%M", nsecs)] = count(); }
            delete(@sent, tid);
        }
        tracepoint:signal:signal_generate /args.sig == 9 || args.sig == 15/ { @told[str(args.comm), args.sig] = count(); }
    """,
    "waiting to run": """
        config = { max_map_keys = 10000; stack_mode = perf }
        tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @queued[args.pid] = nsecs; }
        tracepoint:sched:sched_switch
        {
            if (args.prev_state == 0) { @queued[args.prev_pid] = nsecs; }
            $since = @queued[args.next_pid];
            if ($since) {
                $us = (nsecs - $since) / 1000;
                @waited = hist($us, 3); @line = lhist($us, 0, 1000, 50); @stats[str(args.next_comm)] = stats($us);
                @longest[cpu] = max($us); @mean = avg($us);
                if ($us > 10000) { @stacks[kstack(5), str(args.next_comm)] = count(); }
            }
            delete(@queued, args.next_pid);
        }
        profile:hz:49 { @running[cpu, comm] = count(); @user[ustack(3)] = count(); }
        interval:s:1
        {
            $busy = 0;
            for ($kv : @running) { if ($kv.0.1 != "swapper/0" && $kv.0.1 != "swapper/1") { $busy += (int64)$kv.1; } }
            printf("%d samples busy, %d waiting, longest %d us\\n", $busy, len(@queued), (int64)@longest[0]);
            if ((int64)@mean > 100) { print((elapsed / 1e6, (int64)@mean)); print(@waited); }
            zero(@running);
        }
        end { clear(@queued); print(@waited); print(@stats, 3, 1000); }
    """,
    "task structs": """
        rawtracepoint:sched_process_exit
        {
            $t = (struct task_struct *)arg0;
            $parent = $t->real_parent;
            $depth = 0;
            while ($depth < 20 && $parent->pid > 1) { $parent = $parent->real_parent; $depth++; }
            @exits[str($t->comm), $t->exit_code >> 8, $depth] = count();
            @age = hist((nsecs - $t->start_time) / 1000000);
            printf("%s %d: parent %s, flags %x, mm %p\\n", $t->comm, $t->tgid, $t->real_parent->comm, $t->flags, $t->mm);
            if ($t->mm != 0) { @pages[$t->pid, str($t->comm)] = $t->mm->total_vm; }
        }
    """,
    "strings and protocols": """
        uprobe:libc:getenv { @args[str(arg1, 64)] = count(); @raw = buf(arg1, 16); }
        tracepoint:syscalls:sys_enter_write, tracepoint:syscalls:sys_enter_sendto /args.fd > 2/
        {
            $size = args.count < 200 ? args.count : 200;
            $text = str(args.buf, $size);
            if (strncmp($text, "GET ", 4) == 0 || strncmp($text, "POST ", 5) == 0) { @requests[comm, strcontains($text, "HTTP/1.1")] = count(); }
            else if (strcontains($text, "HTTP/1.")) { @answers[comm, strlen($text)] = count(); printf("%r\\n", buf(args.buf, $size)); }
            @sizes[probe] = lhist(args.count, 0, 65536, 4096); @firsts[$text] = (pid, comm, $size);
        }
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_compiles_and_loads(tracefs, name: str) -> None:
    script = SCRIPTS[name]
    if name == "strings and protocols":
        script = script.replace("sys_enter_write, tracepoint:syscalls:sys_enter_sendto", "sys_enter_write")
    obj = osmia.compile(script, params=("1000",), cache=False)
    with osmia.load(obj) as loaded:
        assert set(loaded.programs) == {p.name for p in obj.programs}
