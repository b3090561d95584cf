#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run CMD as root of the machine in the folder ROOT: root.sh ROOT CACHE CMD...
#
# CACHE becomes its ~/.cache/x64k.  Runs as the first process of a namespace
# of its own (x64k.debian.namespace), with which its mounts and processes end.
set -eu

root=$1
cache=$2
shift 2

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mkdir -p "$root/root/.cache/x64k"
mount --bind "$cache" "$root/root/.cache/x64k"

# Not exec: the first process is the one that orphans go to.
status=0
chroot "$root" /usr/bin/env -i HOME=/root USER=root LANG=C.UTF-8 TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "$@" </dev/null || status=$?
exit "$status"
