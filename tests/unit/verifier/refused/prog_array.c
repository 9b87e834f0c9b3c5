#include "bpf.h"

struct { __uint(type, 3); __uint(max_entries, 4); __uint(key_size, 4); __uint(value_size, 4); } next SEC(".maps");

SEC("xdp")
int dispatch(struct xdp_md *ctx)
{
	__u32 key = 1;
	if (bpf_map_lookup_elem(&next, &key))
		bpf_tail_call(ctx, &next, 1);
	return 2;
}
char _license[] SEC("license") = "GPL";
