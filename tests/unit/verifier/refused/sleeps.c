#include "bpf.h"

SEC("kprobe/do_nanosleep")
int first(__u64 *regs)
{
	char text[16];
	bpf_copy_from_user(text, sizeof(text), (void *)regs[14]);
	return text[0];
}
char _license[] SEC("license") = "GPL";
