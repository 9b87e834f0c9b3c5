# Second stage, with the host's files as /: set up what a booted machine has, run the job, say its status, power off.
# /run/vm is a folder of the host that only this guest uses; `settings` and `job` were written there for this run.
b=/run/vm/busybox
. /run/vm/settings
on() { $b mkdir -p "$2"; $b mount -t "$1" none "$2"; }
$b hostname guest
on proc /proc
on sysfs /sys
on devpts /dev/pts
on tmpfs /dev/shm
on cgroup2 /sys/fs/cgroup
on bpf /sys/fs/bpf
on tracefs /sys/kernel/tracing
on debugfs /sys/kernel/debug
on securityfs /sys/kernel/security
$b ln -s /proc/self/fd /dev/fd
$b ln -s /proc/self/fd/0 /dev/stdin
$b ln -s /proc/self/fd/1 /dev/stdout
$b ln -s /proc/self/fd/2 /dev/stderr
$b mkdir -p /lib/modules
$b mount -o bind "$MODULES" /lib/modules
[ -x /sbin/modprobe ] || $b ln -sf $b /sbin/modprobe
$b date -s "@$NOW" >/dev/null
$b ip link set lo up
if [ -n "$SHARED" ]; then
	$b mkdir -p "$SHARED"
	$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 shared "$SHARED"
fi

# Output goes to the host through two virtio serial ports; FIFOs in between let a program reopen /dev/stdout.
port=/dev/vport0p
while [ ! -e ${port}2 ]; do $b usleep 5000; done
$b mkfifo /dev/out /dev/err
$b cat /dev/out >${port}1 &
out=$!
$b cat /dev/err >${port}2 &
err=$!
/bin/sh /run/vm/job </dev/null >/dev/out 2>/dev/err
status=$?

# Whatever the job left running would keep the FIFOs open.
for d in /proc/[0-9]*; do
	case ${d#/proc/} in 1 | $out | $err) ;; *) kill -9 ${d#/proc/} 2>/dev/null ;; esac
done
wait $out $err
$b sync
echo $status >/run/vm/status.new
$b mv /run/vm/status.new /run/vm/status # complete or not there
$b poweroff -f
