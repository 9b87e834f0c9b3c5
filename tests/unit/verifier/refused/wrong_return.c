#include "bpf.h"
SEC("cgroup/connect4")
int judge(struct bpf_sock_addr *ctx)
{
	if (ctx->user_ip4 == 0x0100007f)
		return -1;
	return 1;
}
char _license[] SEC("license") = "GPL";
