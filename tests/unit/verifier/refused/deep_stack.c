#include "bpf.h"
static __attribute__((noinline)) int inner(__u32 n)
{
	volatile char buffer[320];
	buffer[n & 255] = 1;
	return buffer[n & 127];
}
SEC("xdp")
int outer(struct xdp_md *ctx)
{
	volatile char buffer[320];
	__u32 n = ctx->ingress_ifindex;
	buffer[n & 255] = 1;
	return buffer[inner(n) & 127] ? XDP_PASS : XDP_DROP;
}
char _license[] SEC("license") = "GPL";
