#include "bpf.h"

struct info { char comm[12]; __u32 pid; };
struct { __uint(type, 1); __uint(max_entries, 64); __type(key, __u32); __type(value, struct info); } infos SEC(".maps");

SEC("tracepoint/sched/sched_process_exec")
int exec(void *ctx)
{
	__u32 key = bpf_get_current_pid_tgid();
	struct info *i = bpf_map_lookup_elem(&infos, &key);
	if (!i)
		return 0;
	bpf_get_current_comm(&i->pid, 16);
	return 0;
}
char _license[] SEC("license") = "GPL";
