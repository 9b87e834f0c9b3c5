#include "bpf.h"
SEC("xdp")
int turn(struct xdp_md *ctx)
{
	ctx->ingress_ifindex = 2;
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
