typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64; typedef int s32;
#define SEC(x) __attribute__((section(x),used))
#define __uint(n,v) int (*n)[v]
#define __type(n,v) typeof(v) *n
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))
#define noinline __attribute__((noinline))
struct xdp_md { u32 data,data_end,data_meta,ingress_ifindex,rx_queue_index,egress_ifindex; };
struct bpf_spin_lock { u32 val; }; struct bpf_timer { u64 o[2]; } __attribute__((aligned(8)));
struct bpf_iter_num { u64 o[1]; } __attribute__((aligned(8)));
struct bpf_dynptr { u64 o[2]; } __attribute__((aligned(8)));
static void *(*lookup)(void*,const void*)=(void*)1; static long (*update)(void*,const void*,const void*,u64)=(void*)2;
static u64 (*ktime)(void)=(void*)5; static u32 (*prandom)(void)=(void*)7; static long (*spin_lock)(void*)=(void*)93; static long (*spin_unlock)(void*)=(void*)94;
static long (*each)(void*,void*,void*,u64)=(void*)164; static long (*loop)(u32,void*,void*,u64)=(void*)181;
static long (*timer_init)(void*,void*,u64)=(void*)169; static long (*timer_cb)(void*,void*)=(void*)170; static long (*timer_start)(void*,u64,u64)=(void*)171;
static void *(*reserve)(void*,u64,u64)=(void*)131; static void (*submit)(void*,u64)=(void*)132;
static long (*reserve_dynptr)(void*,u32,u64,struct bpf_dynptr*)=(void*)198; static void (*submit_dynptr)(struct bpf_dynptr*,u64)=(void*)199;static long (*dynptr_write)(struct bpf_dynptr*,u32,void*,u32,u64)=(void*)202; static void*(*dynptr_data)(struct bpf_dynptr*,u32,u32)=(void*)203;
struct task_struct;
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym __weak;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym __weak;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak; extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym __weak; extern void bpf_task_release(struct task_struct *p) __ksym __weak;
char _license[] SEC("license") = "GPL";
struct val { u64 a; struct bpf_spin_lock l; u32 b; };
struct { __uint(type,1); __uint(max_entries,16); __type(key,u32); __type(value,struct val);} h SEC(".maps");
struct tv { u64 a; struct bpf_timer t; };
struct { __uint(type,2); __uint(max_entries,4); __type(key,u32); __type(value,struct tv);} ta SEC(".maps");
struct { __uint(type,27); __uint(max_entries,4096);} rb SEC(".maps");
struct { __uint(type,2); __uint(max_entries,16); __type(key,u32); __type(value,u64);} arr SEC(".maps");
