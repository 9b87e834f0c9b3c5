#include "bpf.h"
struct table { __u32 slots[16]; };
struct { __uint(type, ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct table); } tables SEC(".maps");
SEC("xdp")
int pick(struct xdp_md *ctx)
{
	__u32 zero = 0, i = ctx->rx_queue_index;
	struct table *t = bpf_map_lookup_elem(&tables, &zero);
	if (!t || i > 16)
		return XDP_PASS;
	return t->slots[i];
}
char _license[] SEC("license") = "GPL";
