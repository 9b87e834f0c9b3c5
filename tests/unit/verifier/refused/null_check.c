#include "bpf.h"
struct { __uint(type, HASH); __uint(max_entries, 16); __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);
	*value += 1;
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
