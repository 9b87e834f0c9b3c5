#include "bpf.h"
SEC("tc")
int find(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = {.sport = 80};
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple), -1, 0);
	return sk ? 2 : 0;
}
char _license[] SEC("license") = "GPL";
