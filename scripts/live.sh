#!/bin/sh
# `make run`: trace this machine for ten seconds with docs/examples/live.bt. Usage: live.sh OSMIA
set -u
osmia=$1
here=$(dirname "$0")
script=$here/../docs/examples/live.bt

if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || { echo "make run: tracing needs root (run it as root, or install sudo)" >&2; exit 1; }
	echo "Tracing needs root: sudo asks for your password." >&2
	exec sudo sh "$0" "$osmia"
fi
# Containers often come without tracefs. It is mounted for this run alone.
if [ ! -d /sys/kernel/tracing/events ] && [ -z "${OSMIA_LIVE_MOUNTED:-}" ]; then
	OSMIA_LIVE_MOUNTED=1 exec unshare -m --propagation private sh -c \
		'mount -t tracefs tracefs /sys/kernel/tracing; exec sh "$0" "$1"' "$0" "$osmia"
fi

# A little to see on an idle machine: five times a second, list a folder.
(while sleep 0.2; do ls /usr/bin >/dev/null; done) &
activity=$!
trap 'kill $activity 2>/dev/null' EXIT INT TERM
"$osmia" trace "$script"
