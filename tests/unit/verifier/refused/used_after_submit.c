#include "bpf.h"
struct { __uint(type, RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
SEC("tracepoint/syscalls/sys_enter_openat")
int report(void *ctx)
{
	__u64 *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	bpf_ringbuf_submit(event, 0);
	*event = bpf_get_current_pid_tgid();
	return 0;
}
char _license[] SEC("license") = "GPL";
