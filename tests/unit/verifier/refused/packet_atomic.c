#include "bpf.h"

SEC("xdp")
int mark(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 16 > end)
		return 2;
	__sync_fetch_and_add((__u32 *)data, 1);
	return 2;
}
char _license[] SEC("license") = "GPL";
