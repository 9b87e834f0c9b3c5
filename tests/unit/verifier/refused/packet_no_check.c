#include "bpf.h"
SEC("xdp")
int look(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	if (eth->proto == 0x0608)
		return XDP_DROP;
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
