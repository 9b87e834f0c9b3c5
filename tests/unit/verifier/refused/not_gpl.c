#include "bpf.h"
SEC("kprobe/do_exit")
int say(void *ctx)
{
	char text[] = "bye";
	bpf_trace_printk(text, sizeof(text));
	return 0;
}
char _license[] SEC("license") = "Proprietary";
