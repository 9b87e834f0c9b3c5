/* A program that forgets something. clang -O2 -g -target bpf -mcpu=v3 -fdebug-prefix-map=$PWD=. -c count.bpf.c -o count.bpf.o */
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int __u32;
typedef unsigned long long __u64;
struct xdp_md {
	__u32 data, data_end, data_meta, ingress_ifindex;
};
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;

struct {
	int (*type)[1]; /* BPF_MAP_TYPE_HASH */
	int (*max_entries)[16];
	__u32 *key;
	__u64 *value;
} packets SEC(".maps");

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex;
	__u64 *value = bpf_map_lookup_elem(&packets, &key);
	*value += 1;
	return 2; /* XDP_PASS */
}

char _license[] SEC("license") = "GPL";
