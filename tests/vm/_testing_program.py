"""A C object with a map of each kind that tests fill, and programs that look into them."""

from __future__ import annotations

SOURCE = r"""
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(x) __attribute__((section(x), used))
struct xdp_md { u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
static void *(*lookup)(void *map, const void *key) = (void *)1;
static void (*tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static u32 (*cpu_id)(void) = (void *)8;
static long (*redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
static long (*pop)(void *map, void *value) = (void *)88;
static long (*output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static long (*counter)(void *ctx, u64 what) = (void *)56; /* perf_prog_read_value: user space has none */

struct in6_addr { u8 bytes[16]; };
struct flow { u32 saddr, daddr; u16 sport, dport; u8 proto; };
struct rule { u8 mac[6]; u16 port; struct in6_addr via; u32 low:3, high:5; char name[8]; u64 hits; };
struct prefix { u32 bits; u32 address; };
struct prefix6 { u32 bits; u8 address[16]; };
#define TABLE(kind, k, v, n, name) \
	struct { int (*type)[kind]; k *key; v *value; int (*max_entries)[n]; } name SEC(".maps")
#define NETS(k, name) \
	struct { int (*type)[11]; k *key; u32 *value; int (*max_entries)[8]; int (*map_flags)[1]; } name SEC(".maps")
TABLE(1, struct flow, struct rule, 2, rules);
TABLE(2, u32, u64, 4, numbers);
TABLE(5, u32, struct rule, 4, each);
TABLE(6, u32, u64, 4, counts);
NETS(struct prefix, nets);
NETS(struct prefix6, nets6);
struct { int (*type)[3]; int (*key_size)[4]; int (*value_size)[4]; int (*max_entries)[4]; } jumps SEC(".maps");
struct { int (*type)[14]; int (*key_size)[4]; int (*value_size)[4]; int (*max_entries)[4]; } ports SEC(".maps");
struct inner { int (*type)[1]; u32 *key; u64 *value; int (*max_entries)[4]; };
struct inner one SEC(".maps");
struct { int (*type)[13]; int (*max_entries)[4]; u32 *key; int (*value_size)[4]; struct inner *values[]; }
    tables SEC(".maps");

struct { int (*type)[22]; u16 *value; int (*max_entries)[2]; } pool SEC(".maps");
struct { int (*type)[27]; int (*max_entries)[4096]; } ring SEC(".maps");

enum mode { OFF, ON = 3 };
const volatile u32 only = 7;
const volatile enum mode mode;
const volatile char tag[8] = "none";
int bonus = 1;
u64 seen;

SEC("xdp") int flows(struct xdp_md *ctx)
{
	struct flow key;
	__builtin_memset(&key, 0, sizeof(key));
	key.saddr = 0x0100000a; key.dport = 0x5000; key.proto = 6;
	struct rule *r = lookup(&rules, &key);
	seen++;
	return r ? r->mac[5] + r->port + r->low + r->high * 10 : only + mode + bonus + (tag[0] == 'x');
}
SEC("xdp") int networks(struct xdp_md *ctx)
{
	struct prefix key = {32, 0x0302010a};
	u32 *found = lookup(&nets, &key);
	return found ? *found : 0;
}
SEC("xdp") int cpus(struct xdp_md *ctx)
{
	u32 key = 1;
	u64 *found = lookup(&counts, &key);
	struct rule *r = lookup(&each, &key);
	return (found ? *found : 0) + (r ? 100 * r->port : 0);
}
SEC("xdp") int second(struct xdp_md *ctx) { return 42; }
SEC("xdp") int first(struct xdp_md *ctx) { tail_call(ctx, &jumps, 1); return 0; }
SEC("xdp") int nested(struct xdp_md *ctx)
{
	u32 key = 5;
	void *inner = lookup(&tables, &key);
	u64 *found = inner ? lookup(inner, &key) : 0;
	return found ? *found : 0;
}
SEC("xdp") int forward(struct xdp_md *ctx) { return redirect_map(&ports, 2, 0); }
SEC("xdp") int number(struct xdp_md *ctx)
{
	u32 key = 3;
	u64 *found = lookup(&numbers, &key);
	u64 *v6 = lookup(&nets6, &(struct prefix6){128, {1}});
	return found && !v6 ? *found : 0;
}
SEC("xdp") int take(struct xdp_md *ctx)
{
	u16 port = 0;
	pop(&pool, &port);
	output(&ring, &port, sizeof(port), 0);
	return port;
}
SEC("perf_event") int sampled(void *ctx) { u64 out[3]; return ((long (*)(void *, void *, u32))counter)(ctx, out, 24); }
char _license[] SEC("license") = "GPL";
"""
