#include "bpf.h"
struct task { int state, pid; };
SEC("kprobe/do_exit")
int see(void *ctx)
{
	struct task *task = bpf_get_current_task();
	return task->pid;
}
char _license[] SEC("license") = "GPL";
