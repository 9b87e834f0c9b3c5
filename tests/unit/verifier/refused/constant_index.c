#include "bpf.h"

struct { __uint(type, 2); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64[8]); } sizes SEC(".maps");

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *slots = bpf_map_lookup_elem(&sizes, &key);
	if (!slots)
		return 2;
	slots[8] += 1;
	return 2;
}
char _license[] SEC("license") = "GPL";
