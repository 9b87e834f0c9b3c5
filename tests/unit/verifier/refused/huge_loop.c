#include "bpf.h"
SEC("xdp")
int spin(struct xdp_md *ctx)
{
	__u32 sum = 0;
	for (__u32 i = 0; i < 5000000; i++) {
		asm volatile("" : "+r"(i));
		sum += i;
	}
	return sum & 1 ? XDP_PASS : XDP_DROP;
}
char _license[] SEC("license") = "GPL";
