#include "bpf.h"

const volatile __u32 limit = 10;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	if (ctx->ingress_ifindex > limit)
		*(volatile __u32 *)&limit = 5;
	return 2;
}
char _license[] SEC("license") = "GPL";
