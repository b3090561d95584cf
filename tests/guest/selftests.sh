# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of test_selftests.py, which appends a line for each program:
# one NAME SECONDS COMMAND.  What it prints, verdicts.py reads.

mount -t debugfs debugfs /sys/kernel/debug
mkdir -p /tmp/selftests /mnt/xfs
cp -r /mnt/share/mm /mnt/share/x86 /tmp/selftests
echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd

# Somewhere to swap to, and XFS; zeroes take no memory there.
echo 256M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
disk=zram$(cat /sys/class/zram-control/hot_add)
echo 300M >/sys/block/"$disk"/disksize
zcat /mnt/share/xfs.gz >/dev/"$disk" && mount -t xfs /dev/"$disk" /mnt/xfs

# Huge pages, 256 MB of them.
echo 128 >/proc/sys/vm/nr_hugepages
dmesg -c >/dev/null

one() {
    echo "x64k-selftest begin $1"
    timeout -s KILL "$2" sh -c "$3" 2>&1
    status=$?
    echo
    dmesg -c | sed 's/^/x64k-kernel /'
    echo "x64k-selftest end $status"
    # Who was killed may have left processes, or the kernel in a bad state.
    [ $status -ne 137 ] || exit 0
}
