#include "bpf.h"

struct { __uint(type, 27); __uint(max_entries, 4096); } records SEC(".maps");

SEC("xdp")
int note(struct xdp_md *ctx)
{
	__u64 size = ctx->rx_queue_index;
	if (size > 256)
		size = 256;
	char *record = bpf_ringbuf_reserve(&records, size, 0);
	if (!record)
		return 2;
	bpf_ringbuf_submit(record, 0);
	return 2;
}
char _license[] SEC("license") = "GPL";
