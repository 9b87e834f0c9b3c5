#include "bpf.h"
SEC("xdp")
int spin(struct xdp_md *ctx)
{
	for (__u32 i = 0; i < 5000000; i++)
		asm volatile("" : "+r"(i));
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
