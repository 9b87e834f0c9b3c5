#include "bpf.h"
SEC("kprobe/tcp_sendmsg")
int peek(void *ctx)
{
	__u32 first = 0;
	bpf_skb_load_bytes(ctx, 0, &first, sizeof(first));
	return first != 0;
}
char _license[] SEC("license") = "GPL";
