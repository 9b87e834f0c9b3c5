#include "program.h"
#define P(n) SEC("xdp") int n(struct xdp_md *ctx)
P(iter_ok){ struct bpf_iter_num it; int *v; u64 s=0; bpf_iter_num_new(&it,0,1000000); while((v=bpf_iter_num_next(&it))) s+=*v; bpf_iter_num_destroy(&it); return s&1; }
P(iter_leak){ struct bpf_iter_num it; int *v; u64 s=0; bpf_iter_num_new(&it,0,10); while((v=bpf_iter_num_next(&it))) s+=*v; return s&1; }
P(iter_break){ struct bpf_iter_num it; int *v; bpf_iter_num_new(&it,0,10); while((v=bpf_iter_num_next(&it))) { if (*v==prandom()) break; } bpf_iter_num_destroy(&it); return 1; }
P(iter_nest){ struct bpf_iter_num it,i2; int *v,*w; u64 s=0; bpf_iter_num_new(&it,0,10); while((v=bpf_iter_num_next(&it))) { bpf_iter_num_new(&i2,0,*v); while((w=bpf_iter_num_next(&i2))) s+=*w; bpf_iter_num_destroy(&i2);} bpf_iter_num_destroy(&it); return s; }
P(iter_idx){ struct bpf_iter_num it; int *v; u64 s=0; u64 a[8]; bpf_iter_num_new(&it,0,8); while((v=bpf_iter_num_next(&it))) { int i=*v; if (i>=0 && i<8) a[i]=i; } bpf_iter_num_destroy(&it); return a[3]; }
P(iter_idx_bad){ struct bpf_iter_num it; int *v; u64 a[8]; bpf_iter_num_new(&it,0,8); while((v=bpf_iter_num_next(&it))) { int i=*v; a[i]=i; } bpf_iter_num_destroy(&it); return a[3]; }
static int cb(u64 i, void *c){ u64*s=c; *s+=i; return 0; }
P(loop_ok){ u64 s=0; loop(100000,cb,&s,0); return s&1; }
static int cb_bad(u64 i, void *c){ return 2; }
P(loop_ret){ loop(10,cb_bad,0,0); return 1; }
static int cb_oob(u64 i, void *c){ u64*s=c; s[1]=i; return 0; }
P(loop_oob){ u64 s=0; loop(10,cb_oob,&s,0); return s; }
struct lc { u64 sum; u32 stop; };
static int cb_sum(u64 i, void *c){ struct lc*l=c; l->sum+=(u32)i*3; return 0; }
P(loop_sum){ struct lc c={}; loop(1<<20,cb_sum,&c,0); return c.sum&1; }
static int cb_stop(u64 i, void *c){ struct lc*l=c; if((u32)i>=l->stop) return 1; l->sum+=(u32)i*3; return 0; }
P(loop_stop){ struct lc c={.stop=ctx->ingress_ifindex}; loop(1<<20,cb_stop,&c,0); return c.sum&1; }
static int cb_far(u64 i, void *c){ struct lc*l=c; ((u8*)c)[l->sum+8]=i; l->sum+=8; return 0; }
P(loop_far){ struct lc c={}; loop(1<<20,cb_far,&c,0); return c.sum&1; }
static u64 walk_sum(void*m,u32*k,struct val*v,void*c){ struct lc*l=c; l->sum+=v->a; return l->sum>1<<20; }
P(each_sum){ struct lc c={}; each(&h,walk_sum,&c,0); return c.sum&1; }
static int cb_idx(u64 i, void *c){ u8*s=c; if (i<64) s[i]=1; return 0; }
P(loop_idx){ u8 s[64]={}; loop(64,cb_idx,s,0); return s[5]; }
static u64 walk(void*m,u32*k,struct val*v,void*c){ v->a+=*k; return 0; }
P(each_ok){ each(&h,walk,0,0); return 1; }
static u64 walk_bad(void*m,u32*k,struct val*v,void*c){ return *(u64*)((char*)v+16); }
P(each_bad){ each(&h,walk_bad,0,0); return 1; }
P(lock_ok){ u32 k=1; struct val*v=lookup(&h,&k); if(!v) return 0; spin_lock(&v->l); v->a++; spin_unlock(&v->l); return 1; }
P(lock_leak){ u32 k=1; struct val*v=lookup(&h,&k); if(!v) return 0; spin_lock(&v->l); v->a++; return 1; }
P(lock_call){ u32 k=1; struct val*v=lookup(&h,&k); if(!v) return 0; spin_lock(&v->l); v->a=ktime(); spin_unlock(&v->l); return 1; }
P(lock_touch){ u32 k=1; struct val*v=lookup(&h,&k); if(!v) return 0; *(volatile u32*)&v->l=0; return 1; }
P(lock_two){ u32 k=1,k2=2; struct val*v=lookup(&h,&k),*w=lookup(&h,&k2); if(!v||!w) return 0; spin_lock(&v->l); spin_unlock(&w->l); return 1; }
static int tcb(void*m,u32*k,struct tv*v){ v->a++; return 0; }
P(timer_ok){ u32 k=1; struct tv*v=lookup(&ta,&k); if(!v) return 0; timer_init(&v->t,&ta,1); timer_cb(&v->t,tcb); timer_start(&v->t,1000,0); return 1; }
static int tcb_bad(void*m,u32*k,struct tv*v){ return 1; }
P(timer_ret){ u32 k=1; struct tv*v=lookup(&ta,&k); if(!v) return 0; timer_init(&v->t,&ta,1); timer_cb(&v->t,tcb_bad); return 1; }
P(timer_touch){ u32 k=1; struct tv*v=lookup(&ta,&k); if(!v) return 0; return *(volatile u64*)&v->t; }
P(dyn_ok){ struct bpf_dynptr d; u64 x=1; reserve_dynptr(&rb,16,0,&d); dynptr_write(&d,0,&x,8,0); submit_dynptr(&d,0); return 1; }
P(dyn_leak){ struct bpf_dynptr d; reserve_dynptr(&rb,16,0,&d); return 1; }
P(dyn_use){ struct bpf_dynptr d; u64 x=1; reserve_dynptr(&rb,16,0,&d); submit_dynptr(&d,0); dynptr_write(&d,0,&x,8,0); return 1; }
P(dyn_data){ struct bpf_dynptr d; u64*p; reserve_dynptr(&rb,16,0,&d); p=dynptr_data(&d,0,16); if(p) p[1]=1; submit_dynptr(&d,0); return 1; }
P(dyn_slice){ struct bpf_dynptr d; u64*p; reserve_dynptr(&rb,16,0,&d); p=dynptr_data(&d,0,16); submit_dynptr(&d,0); if(p) p[1]=1; return 1; }
P(dyn_oob){ struct bpf_dynptr d; u64*p; reserve_dynptr(&rb,16,0,&d); p=dynptr_data(&d,0,8); if(p) p[1]=1; submit_dynptr(&d,0); return 1; }
noinline int glob(int a, int b){ return a*b; }
P(glob_ok){ return glob(ctx->rx_queue_index,2)&1; }
noinline int globp(u64 *p){ return p ? *p : 0; }
P(globp_ok){ u64 x=3; return globp(&x)&1; }
noinline int globp_bad(u64 *p){ return *p; }
P(globp_null){ u64 x=3; return globp_bad(&x)&1; }
noinline int globc(struct xdp_md *c){ void*d=(void*)(long)c->data,*e=(void*)(long)c->data_end; if(d+1>e) return 0; return *(u8*)d; }
P(globc_ok){ return globc(ctx)&1; }
P(map_sum){ u64 s=0; for(u32 i=0;i<16;i++){ u32 k=i; u64*v=lookup(&arr,&k); if(v) s+=*v; } return s&1; }
P(rcu_ok){ bpf_rcu_read_lock(); bpf_rcu_read_unlock(); return 1; }
P(rcu_leak){ bpf_rcu_read_lock(); return 1; }
P(rcu_un){ bpf_rcu_read_unlock(); return 1; }
#define T(n) SEC("raw_tp/sched_switch") int n(void *ctx)
T(task_ok){ struct task_struct*t=bpf_task_from_pid(1); if(t) bpf_task_release(t); return 0; }
T(task_leak){ struct task_struct*t=bpf_task_from_pid(1); return t!=0; }
T(task_null){ struct task_struct*t=bpf_task_from_pid(1); bpf_task_release(t); return 0; }
