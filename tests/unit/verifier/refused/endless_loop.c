#include "bpf.h"
SEC("xdp")
int spin(struct xdp_md *ctx)
{
	__u32 n = 0;
	while (n != 7)
		asm volatile("%0 = 3" : "+r"(n));
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
