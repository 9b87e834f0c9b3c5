#include "bpf.h"
SEC("xdp")
int spin(struct xdp_md *ctx)
{
	__u32 n = bpf_get_prandom_u32();
	for (__u32 i = 0; i < n; i++)
		asm volatile("" : "+r"(i));
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
