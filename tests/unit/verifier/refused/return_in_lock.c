#include "bpf.h"

struct stamp { struct bpf_spin_lock lock; __u64 packets; };
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, __u32); __type(value, struct stamp); } stamps SEC(".maps");

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct stamp *s = bpf_map_lookup_elem(&stamps, &key);
	if (!s)
		return 2;
	bpf_spin_lock(&s->lock);
	if (s->packets > 1000000)
		return 1;
	s->packets++;
	bpf_spin_unlock(&s->lock);
	return 2;
}
char _license[] SEC("license") = "GPL";
