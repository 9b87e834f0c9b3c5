#!/bin/busybox sh
# First program of a test kernel: put a throw-away overlay over the host's files, and go on there.
b=/bin/busybox
$b mkdir -p /host /scratch /root /dev
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module"; done
share="$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000"
$share,ro,cache=loose host /host
$b mount -t tmpfs -o mode=755 scratch /scratch
$b mkdir /scratch/upper /scratch/work
$b mount -t overlay -o lowerdir=/host,upperdir=/scratch/upper,workdir=/scratch/work root /root
$b mkdir -p /root/proc /root/sys /root/dev /root/run/vm
$share vm /root/run/vm
$b mount -o move /dev /root/dev
exec $b switch_root /root /run/vm/busybox sh /run/vm/root.sh
