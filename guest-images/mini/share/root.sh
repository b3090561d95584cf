# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Goes over to an image that x64k gave as a disk; /init reads this in.
#
# The kernel line has x64k.root=DISK, and x64k.init=PROGRAM if the image's own
# init shall take over.  The disk is only read: what the guest writes goes to
# a tmpfs on top of it, and is gone in the end.

word() {
    tr ' ' '\n' </proc/cmdline | sed -n "s|^$1=||p"
}

disk=$(word x64k.root)
program=$(word x64k.init)
[ -b "$disk" ] ||
    fail "this kernel sees no disk $disk (it needs virtio-blk built in)"

mkdir -p /image/below /image/above /image/root
# noload: a journal with work left cannot be replayed, as the disk is read-only.
mount -t erofs -o ro "$disk" /image/below 2>/dev/null ||
    mount -t ext4 -o ro "$disk" /image/below 2>/dev/null ||
    mount -t ext4 -o ro,noload "$disk" /image/below ||
    fail 'the image is neither erofs nor ext4, or it is damaged'
mount -t tmpfs -o mode=755 tmpfs /image/above
mkdir /image/above/files /image/above/work
root=/image/root
mount -t overlay -o \
    lowerdir=/image/below,upperdir=/image/above/files,workdir=/image/above/work \
    overlay $root || fail 'no overlay on the image'
[ -e $root/bin/sh ] || [ -L $root/bin/sh ] || fail 'the image has no /bin/sh'

mkdir -p $root/dev $root/proc $root/sys $root/tmp $root/run $root/root \
    $root/usr/local/bin $root/usr/share $root/x64k
mkdir /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
chmod 1777 /tmp
hostname x64k
ifconfig lo 127.0.0.1 up

# Ours: static, so that they need nothing there.
cp -r /x64k/* $root/x64k/
cp /usr/local/bin/* $root/usr/local/bin/
cp -r /usr/share/x64k $root/usr/share/

for place in dev proc sys tmp run; do
    mount --move /$place $root/$place
done
if [ "$program" ]; then
    [ -e "$root$program" ] || [ -L "$root$program" ] ||
        fail "the image has no $program"
    # Its locale and the like are its own business.
    exec env -i "TERM=$TERM" /bin/switch_root $root "$program"
fi
# This init goes on there, with a busybox of its own.
mkdir $root/x64k/bin
cp /bin/busybox $root/x64k/bin/
cp /init $root/x64k/init
# From inside, as its links say where it is.
chroot $root /x64k/bin/busybox --install -s /x64k/bin
exec switch_root $root /x64k/bin/busybox sh /x64k/init
