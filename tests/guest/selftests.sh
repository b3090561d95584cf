# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of test_selftests.py, which appends a line for each program:
# one NAME SECONDS COMMAND ATTEMPTS.  What it prints, verdicts.py reads.

mount -t debugfs debugfs /sys/kernel/debug
mkdir -p /tmp/selftests /mnt/xfs /etc
cp -r /mnt/share/mm /mnt/share/x86 /tmp/selftests
echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd

# Somewhere to swap to, and XFS; zeroes take no memory there.
echo 256M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
disk=zram$(cat /sys/class/zram-control/hot_add)
echo 300M >/sys/block/"$disk"/disksize
zcat /mnt/share/xfs.gz >/dev/"$disk" && mount -t xfs /dev/"$disk" /mnt/xfs

# As it is without thp_anon= on the kernel line: 2 MB by madvise.
echo inherit >/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled

# Huge pages, 256 MB of them.
echo 128 >/proc/sys/vm/nr_hugepages
# What the kernel says is read by dmesg: a console is slow.
dmesg -n 1
dmesg -c >/dev/null

one() {
    echo "x64k-selftest begin $1"
    begin=$(cut -d . -f 1 /proc/uptime)
    # cat ends with the last process that the program has left behind.
    {
        timeout -s KILL "$2" sh -c "$3" 2>&1
        echo $? >/tmp/status
    } | timeout -s KILL $(($2 + 60)) cat
    status=$(cat /tmp/status)
    seconds=$(($(cut -d . -f 1 /proc/uptime) - begin))
    echo
    dmesg -c | sed 's/^/x64k-kernel /'
    echo "x64k-selftest end $status after $seconds s"
    # Who was killed may have left processes, or the kernel in a bad state.
    [ "$status" -ne 137 ] || exit 0
    [ "$status" -eq 0 ] || [ "$4" -le 1 ] || one "$1" "$2" "$3" $(($4 - 1))
}
