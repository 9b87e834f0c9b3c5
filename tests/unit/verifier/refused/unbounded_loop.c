#include "bpf.h"
SEC("xdp")
int spin(struct xdp_md *ctx)
{
	__u32 n = bpf_get_prandom_u32(), sum = 0;
	for (__u32 i = 0; i < n; i++) {
		asm volatile("" : "+r"(i));
		sum += i;
	}
	return sum & 1 ? XDP_PASS : XDP_DROP;
}
char _license[] SEC("license") = "GPL";
