/* Drops DNS over IPv4, counts what it sees by protocol.
 * clang -O2 -g -target bpf -mcpu=v3 -fdebug-prefix-map=$PWD=. -c drop_dns.bpf.c -o drop_dns.bpf.o */
#define SEC(name) __attribute__((section(name), used))
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
struct xdp_md {
	__u32 data, data_end;
};
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
enum { XDP_DROP = 1, XDP_PASS = 2, UDP = 17 };

struct {
	int (*type)[2]; /* BPF_MAP_TYPE_ARRAY */
	int (*max_entries)[256];
	__u32 *key;
	__u64 *value;
} packets SEC(".maps");

SEC("xdp")
int drop_dns(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;
	__u8 *ip = data + 14, *udp = ip + 20; /* no options: good enough for an example */

	if (udp + 8 > end || data[12] != 8 || data[13] != 0)
		return XDP_PASS;
	__u32 protocol = ip[9];
	__u64 *count = bpf_map_lookup_elem(&packets, &protocol);
	if (count)
		*count += 1;
	if (protocol == UDP && udp[2] == 0 && udp[3] == 53)
		return XDP_DROP;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
