#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The last change to the Debian guest's files: customize.sh ROOT SOURCES
#
# mmdebstrap calls it after the packages are installed.  SOURCES is a folder
# with the unpacked source packages.
set -eu
root=$1
sources=$2

# Sources to compile, and sqlite's own benchmark, of Debian's source package.
mkdir -p "$root/usr/src"
cp -r --no-preserve=ownership "$sources/." "$root/usr/src"
chroot "$root" sh -c 'gcc -O2 -o /usr/local/bin/speedtest1 \
    /usr/src/sqlite3-*/test/speedtest1.c -lsqlite3'

# Who and where the guest is.  Root needs no password: the guest has no network
# and ends with its console.
echo x64k >"$root/etc/hostname"
printf '127.0.0.1 localhost x64k\n::1 localhost\n' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
: >"$root/etc/fstab"
echo 'LANG=C.UTF-8' >"$root/etc/default/locale"
chroot "$root" passwd -q -d root

# systemd: a login on the console, and nothing that runs by itself.  There is
# no udev, for whose word serial-getty would wait.
units=$root/etc/systemd/system
mkdir -p "$units/console-getty.service.d" "$units/getty.target.wants"
cat >"$units/console-getty.service.d/autologin.conf" <<'END'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud - 115200 vt102
END
ln -s /usr/lib/systemd/system/console-getty.service \
    "$units/getty.target.wants/"
for unit in serial-getty@ttyS0.service getty@tty1.service \
    redis-server.service postgresql.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
    systemd-tmpfiles-clean.timer systemd-pcrlock.socket \
    systemd-journal-catalog-update.service systemd-hwdb-update.service \
    ldconfig.service systemd-firstboot.service; do
    ln -sf /dev/null "$units/$unit"
done

# Compiled Python must not go by time stamps: in the image all are equal.
chroot "$root" sh -c 'PYTHONHASHSEED=0 python3 -m compileall -q -f \
    --invalidation-mode unchecked-hash /usr/lib/python3 /usr/lib/python3.*'
