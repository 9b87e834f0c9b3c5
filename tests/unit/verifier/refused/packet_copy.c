#include "bpf.h"

struct piece { char data[64]; };
struct { __uint(type, ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct piece); } pieces SEC(".maps");

SEC("xdp")
int keep(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 key = 0, length = data_end - data;
	struct piece *p = bpf_map_lookup_elem(&pieces, &key);
	if (!p)
		return XDP_PASS;
	for (int i = 0; i < 64 && i < length; i++)
		p->data[i] = ((char *)data)[i];
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
