#include "bpf.h"
SEC("tc")
int look(struct __sk_buff *skb)
{
	__u32 *field = (__u32 *)skb + (bpf_get_prandom_u32() & 7);
	asm volatile("" : "+r"(field));
	return *field;
}
char _license[] SEC("license") = "GPL";
