#include "bpf.h"

struct { __uint(type, 11); __uint(max_entries, 16); __uint(map_flags, 1); __uint(key_size, 8); __type(value, __u32); } routes SEC(".maps");

SEC("xdp")
int route(struct xdp_md *ctx)
{
	__u32 ip = ctx->ingress_ifindex;
	__u32 *verdict = bpf_map_lookup_elem(&routes, &ip);
	return verdict ? *verdict : 2;
}
char _license[] SEC("license") = "GPL";
