#include "bpf.h"
struct table { __u32 slots[16]; };
struct { __uint(type, HASH); __uint(max_entries, 1); __type(key, __u32); __type(value, struct table); } tables SEC(".maps");
SEC("xdp")
int pick(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct table *t = bpf_map_lookup_elem(&tables, &zero);
	__u32 *slot = &t->slots[3];
	asm volatile("" : "+r"(slot));
	if (!slot)
		return XDP_PASS;
	return *slot;
}
char _license[] SEC("license") = "GPL";
