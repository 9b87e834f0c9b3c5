/* The little that these programs need of the kernel's headers. Numbers are UAPI. */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define NULL ((void *)0)

struct xdp_md { __u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
struct __sk_buff { __u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority; };
struct bpf_sock_addr { __u32 user_family, user_ip4; };
struct ethhdr { __u8 to[6], from[6]; __u16 proto; } __attribute__((packed));
struct iphdr { __u8 head, tos; __u16 len, id, frag; __u8 ttl, protocol; __u16 check; __u32 from, to; };
struct bpf_sock_tuple { __u32 saddr, daddr; __u16 sport, dport; };
struct bpf_sock;

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_trace_printk)(const char *format, __u32 size, ...) = (void *)6;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static __u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 size) = (void *)26;
static void *(*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;
static struct bpf_sock *(*bpf_sk_lookup_tcp)(void *ctx, struct bpf_sock_tuple *tuple, __u32 size, __u64 ns, __u64 flags) = (void *)84;
static void *(*bpf_ringbuf_reserve)(void *map, __u64 size, __u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;

enum { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX };
enum { HASH = 1, ARRAY = 2, RINGBUF = 27 };

struct bpf_spin_lock { __u32 val; };
static long (*bpf_tail_call)(void *ctx, void *programs, __u32 index) = (void *)12;
static long (*bpf_get_current_comm)(void *to, __u32 size) = (void *)16;
static long (*bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static long (*bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
static long (*bpf_copy_from_user)(void *to, __u32 size, const void *from) = (void *)148;
static long (*bpf_probe_read_user)(void *to, __u32 size, const void *from) = (void *)112;
