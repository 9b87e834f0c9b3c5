#include "program.h"
struct __sk_buff { u32 len,pkt_type,mark,queue_mapping,protocol,vlan_present,vlan_tci,vlan_proto,priority,ingress_ifindex,ifindex,tc_index,cb[5],hash,tc_classid,data,data_end,napi_id,family,rip4,lip4,rip6[4],lip6[4],rport,lport,data_meta; };
struct bpf_sock_tuple { u32 saddr,daddr; u16 sport,dport; };
struct bpf_sock { u32 bound_dev_if,family,type,protocol,mark,priority,src_ip4,src_ip6[4],src_port; u16 dst_port; u32 dst_ip4,dst_ip6[4],state; s32 rx_queue_mapping; };
static struct bpf_sock*(*sk_lookup_tcp)(void*,struct bpf_sock_tuple*,u32,u64,u64)=(void*)84; static long(*sk_release)(struct bpf_sock*)=(void*)86;
static void*(*tcp_sock)(void*)=(void*)96; static struct bpf_sock*(*sk_fullsock)(void*)=(void*)95;
static long(*perf_out)(void*,void*,u64,void*,u64)=(void*)25; static long(*get_comm)(void*,u32)=(void*)16; static long(*probe_read_k)(void*,u32,const void*)=(void*)113; static long(*probe_read_ks)(void*,u32,const void*)=(void*)115;
static long(*rb_out)(void*,void*,u64,u64)=(void*)130; static void(*tail)(void*,void*,u32)=(void*)12; static void*(*cur_task)(void)=(void*)158; static long(*snprintf_)(char*,u32,const char*,u64*,u32)=(void*)165;
static long(*skb_store)(void*,u32,void*,u32,u64)=(void*)9; static long(*pull)(void*,u32)=(void*)39; static long(*adjust_head)(void*,int)=(void*)44; static long(*adjust_meta)(void*,int)=(void*)54;
static u64 (*pidtgid)(void)=(void*)14; static void*(*per_cpu_ptr)(void*,u32)=(void*)153;
struct { __uint(type,4); __uint(max_entries,4); __uint(key_size,4); __uint(value_size,4);} pe SEC(".maps");
struct { __uint(type,3); __uint(max_entries,4); __uint(key_size,4); __uint(value_size,4);} pa SEC(".maps");
struct inner { __uint(type,2); __uint(max_entries,4); __type(key,u32); __type(value,u64);} in0 SEC(".maps");
struct { __uint(type,12); __uint(max_entries,4); __uint(key_size,4); __uint(value_size,4); struct inner *values[];} mm SEC(".maps")={ .values={&in0} };
struct { __uint(type,5); __uint(max_entries,8); __type(key,u64); __type(value,u64[4]);} ph SEC(".maps");
u64 counter; const volatile u32 limit=8; u8 buf[64];
#define C(n) SEC("tc") int n(struct __sk_buff *ctx)
#define X(n) SEC("xdp") int n(struct xdp_md *ctx)
#define RT(n) SEC("raw_tp/sched_switch") int n(u64 *ctx)
#define TB(n) SEC("tp_btf/sched_switch") int n(u64 *ctx)
C(sk_ok){ struct bpf_sock_tuple t={}; struct bpf_sock*s=sk_lookup_tcp(ctx,&t,sizeof t,-1,0); if(s){ counter+=s->src_port; sk_release(s);} return 0; }
C(sk_leak){ struct bpf_sock_tuple t={}; struct bpf_sock*s=sk_lookup_tcp(ctx,&t,sizeof t,-1,0); if(s) counter++; return 0; }
C(sk_null){ struct bpf_sock_tuple t={}; struct bpf_sock*s=sk_lookup_tcp(ctx,&t,sizeof t,-1,0); sk_release(s); return 0; }
C(sk_after){ struct bpf_sock_tuple t={}; struct bpf_sock*s=sk_lookup_tcp(ctx,&t,sizeof t,-1,0); if(s){ sk_release(s); counter+=s->src_port;} return 0; }
C(sk_twice){ struct bpf_sock_tuple t={}; struct bpf_sock*s=sk_lookup_tcp(ctx,&t,sizeof t,-1,0); if(s){ sk_release(s); sk_release(s);} return 0; }
C(sk_write){ struct bpf_sock_tuple t={}; struct bpf_sock*s=sk_lookup_tcp(ctx,&t,sizeof t,-1,0); if(s){ s->mark=1; sk_release(s);} return 0; }
C(sk_beyond){ struct bpf_sock_tuple t={}; struct bpf_sock*s=sk_lookup_tcp(ctx,&t,sizeof t,-1,0); if(s){ counter=*(u32*)((char*)s+96); sk_release(s);} return 0; }
C(direct_write){ u8*d=(void*)(long)ctx->data,*e=(void*)(long)ctx->data_end; if(d+4>e) return 0; d[3]=1; return 0; }
C(stale){ u8*d=(void*)(long)ctx->data,*e=(void*)(long)ctx->data_end; if(d+4>e) return 0; pull(ctx,0); return d[3]; }
C(reload){ pull(ctx,0); u8*d=(void*)(long)ctx->data,*e=(void*)(long)ctx->data_end; if(d+4>e) return 0; return d[3]; }
X(adj){ if(adjust_head(ctx,-4)) return 1; u8*d=(void*)(long)ctx->data,*e=(void*)(long)ctx->data_end; if(d+4>e) return 0; d[0]=1; return 2; }
X(meta){ if(adjust_meta(ctx,-4)) return 1; u8*m=(void*)(long)ctx->data_meta,*d=(void*)(long)ctx->data; if(m+4>d) return 0; *(u32*)m=1; return 2; }
X(meta_bad){ u8*m=(void*)(long)ctx->data_meta,*d=(void*)(long)ctx->data; if(m+4>d) return 0; return m[4]; }
X(hdr_loop){ u8*p=(void*)(long)ctx->data,*e=(void*)(long)ctx->data_end; u32 off=14; for(int i=0;i<8;i++){ if(p+off+2>e) return 1; u8 l=p[off+1]; if(l<2) return 1; off+=l; } return 2; }
X(var_off){ u8*p=(void*)(long)ctx->data,*e=(void*)(long)ctx->data_end; u32 o=ctx->rx_queue_index; if(o>1000) return 1; p+=o; if(p+4>e) return 1; return p[3]; }
X(var_off_bad){ u8*p=(void*)(long)ctx->data,*e=(void*)(long)ctx->data_end; u32 o=ctx->rx_queue_index; p+=o; if(p+4>e) return 1; return p[3]; }
X(mim){ u32 k=0; void*m=lookup(&mm,&k); if(!m) return 0; u64*v=lookup(m,&k); if(!v) return 0; return *v; }
X(mim_null){ u32 k=0; void*m=lookup(&mm,&k); u64*v=lookup(m,&k); if(!v) return 0; return *v; }
X(tail_ok){ tail(ctx,&pa,1); return 0; }
noinline static int sub_tail(struct xdp_md*c){ tail(c,&pa,1); return counter; }
X(tail_sub){ return sub_tail(ctx); }
X(global_data){ counter++; return counter>limit; }
X(buf_idx){ u32 i=ctx->rx_queue_index; if(i<64) buf[i]=1; return 0; }
X(buf_idx_bad){ u32 i=ctx->rx_queue_index; if(i<=64) buf[i]=1; return 0; }
X(rodata_write){ *(volatile u32*)&limit=9; return 0; }
X(rb_var){ u8 b[64]={}; u32 n=ctx->rx_queue_index&63; rb_out(&rb,b,n,0); return 0; }
X(rb_var_bad){ u8 b[64]={}; u32 n=ctx->rx_queue_index&127; rb_out(&rb,b,n,0); return 0; }
X(pe_out){ u64 x[2]={1,2}; perf_out(ctx,&pe,0xffffffff,x,sizeof x); return 0; }
X(rb_rec){ u64*p=reserve(&rb,32,0); if(!p) return 0; for(int i=0;i<4;i++) p[i]=i; submit(p,0); return 0; }
X(rb_in_fn){ u64*p=reserve(&rb,32,0); if(!p) return 0; p[4]=1; submit(p,0); return 0; }
RT(comm){ char c[16]; get_comm(c,sizeof c); counter+=c[0]; return 0; }
RT(comm_big){ char c[16]; get_comm(c,24); counter+=c[0]; return 0; }
RT(prk){ char b[64]; long n=probe_read_ks(b,64,(void*)ctx[1]); if(n>0&&n<=64) buf[n-1]=b[n-1]; return 0; }
RT(prk_ret){ char b[64]; long n=probe_read_ks(b,64,(void*)ctx[1]); if(n>0) buf[n-1]=b[n-1]; return 0; }
RT(prk_bad){ char b[64]; long n=probe_read_ks(b,128,(void*)ctx[1]); return 0; }
RT(ctx_far){ return ctx[12]; }
RT(ctx_odd){ return *(u32*)((char*)ctx+2); }
RT(phash){ u64 k=pidtgid(); u64*v=lookup(&ph,&k); if(v) v[3]++; else { u64 z[4]={}; update(&ph,&k,z,0);} return 0; }
RT(phash_bad){ u64 k=pidtgid(); u64*v=lookup(&ph,&k); if(v) v[4]++; return 0; }
RT(raw_deref){ return *(u32*)ctx[1]; }
TB(tb_prev){ return 0; }
struct task_struct___x { int pid; } __attribute__((preserve_access_index));
TB(tb_read){ u64*p=(u64*)ctx[1]; counter+=*(u32*)((char*)p+0x10); return 0; }
TB(tb_write){ u64*p=(u64*)ctx[1]; *(u32*)((char*)p+0x10)=1; return 0; }
TB(tb_beyond){ u64*p=(u64*)ctx[1]; counter+=*(u32*)((char*)p+0x7000); return 0; }
TB(tb_far){ counter+=ctx[6]; return 0; }
TB(tb_neg){ u64*p=(u64*)ctx[1]; counter+=*(u32*)((char*)p-8); return 0; }
TB(tb_var){ u64*p=(u64*)ctx[1]; u32 o=prandom()&8; counter+=*(u32*)((char*)p+o); return 0; }
TB(tb_task){ u64*t=cur_task(); counter+=*(u32*)((char*)t+0x10); return 0; }
SEC("cgroup_skb/egress") int cg(struct __sk_buff*ctx){ return ctx->len>100?1:0; }
SEC("cgroup_skb/ingress") int cg_bad(struct __sk_buff*ctx){ return ctx->len; }
SEC("socket") int sf(struct __sk_buff*ctx){ return ctx->len; }
SEC("socket") int sf_data(struct __sk_buff*ctx){ return ctx->data; }
SEC("tracepoint/syscalls/sys_enter_openat") int tp(u64*ctx){ char b[32]; probe_read_k(b,32,(void*)ctx[3]); return b[0]; }
SEC("perf_event") int pev(u64*ctx){ return ctx[0]; }
SEC("kprobe/vfs_read") int kp(u64*ctx){ counter+=ctx[14]; return 0; }
SEC("kprobe/vfs_read") int kp_far(u64*ctx){ counter+=ctx[22]; return 0; }
struct bpf_sock; struct bpf_sockopt { struct bpf_sock *sk; void *optval, *optval_end; s32 level, optname, optlen, retval; };
SEC("cgroup/setsockopt") int p_set_option(struct bpf_sockopt *c){ u32 *o=c->optval; if((void*)(o+1)>c->optval_end) return 1; *o=2; c->optlen=4; return 1; }
SEC("cgroup/getsockopt") int p_get_option(struct bpf_sockopt *c){ char *o=c->optval; if((void*)(o+4)>c->optval_end) return 1; o[0]=1; c->retval=0; return 1; }
SEC("cgroup/getsockopt") int p_get_option_beyond(struct bpf_sockopt *c){ char *o=c->optval; if((void*)(o+4)>c->optval_end) return 1; o[4]=1; return 1; }
