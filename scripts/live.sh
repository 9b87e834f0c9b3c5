#!/bin/sh
# `make run`: trace this machine for ten seconds with docs/examples/live.bt; where the kernel refuses, one command, in
# user space. Usage: live.sh OSMIA
set -u
osmia=$1
here=$(dirname "$0")
script=$here/../docs/examples/live.bt
# Ten seconds of something to see.
busy='i=0; while [ $i -lt 45 ]; do ls /usr/bin >/dev/null; sleep 0.2; i=$((i + 1)); done'

in_user_space() {
	echo "make run: $1: tracing one command in user space instead." >&2
	exec "$osmia" trace --target vm -c "sh -c '$busy; sleep 3'" "$script"
}

if [ "$(id -u)" -ne 0 ]; then
	# Where there is nobody to type a password, sudo has to do without.
	if [ -t 0 ] && command -v sudo >/dev/null; then
		echo "Tracing the whole machine needs root: sudo asks for your password (Ctrl-C: trace one command without)." >&2
		sudo -v && exec sudo sh "$0" "$osmia"
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		exec sudo -n sh "$0" "$osmia"
	fi
	in_user_space "tracing the whole machine needs root"
fi
# Containers often come without tracefs. It is mounted for this run alone.
if [ ! -d /sys/kernel/tracing/events ] && [ -z "${OSMIA_LIVE_MOUNTED:-}" ]; then
	if unshare -m true 2>/dev/null; then
		OSMIA_LIVE_MOUNTED=1 exec unshare -m --propagation private sh -c \
			'mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec sh "$0" "$1"' "$0" "$osmia"
	fi
fi
if ! "$osmia" trace -q -e 'begin { exit(); }' >/dev/null 2>&1; then
	in_user_space "this kernel does not let us load BPF programs"
fi

# A little to see on an idle machine: five times a second, list a folder.
(while sleep 0.2; do ls /usr/bin >/dev/null; done) &
activity=$!
trap 'kill $activity 2>/dev/null' EXIT INT TERM
"$osmia" trace "$script"
