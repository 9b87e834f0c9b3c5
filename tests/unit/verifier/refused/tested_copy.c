#include "bpf.h"

struct text { char data[512]; };
struct { __uint(type, ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct text); } texts SEC(".maps");
static long (*bpf_probe_read_user_str)(void *to, __u32 size, const void *from) = (void *)114;

SEC("tracepoint/syscalls/sys_enter_openat")
int path(__u64 *ctx)
{
	__u32 key = 0;
	struct text *t = bpf_map_lookup_elem(&texts, &key);
	if (!t)
		return 0;
	int n = bpf_probe_read_user_str(t->data, 256, (void *)ctx[3]);
	if (n < 0)
		return 0;
	t->data[n] = '/';
	return 0;
}
char _license[] SEC("license") = "GPL";
