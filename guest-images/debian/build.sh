#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make the Debian guest's image: build.sh WORK OUT PACKAGE...
#
# WORK has repository/ (Debian packages and their index) and sources/ (unpacked
# source packages), and becomes the place of everything temporary.  Runs as
# root, or as root of a user namespace.
set -euf

here=$(cd "$(dirname "$0")" && pwd)
work=$1
out=$2
shift 2

# One date for all: that of Debian 13's release.  Nothing of the user's.
export SOURCE_DATE_EPOCH=1754697600 LC_ALL=C.UTF-8 TMPDIR="$work"
umask 022

set -- "$(printf '%s,' "$@")"
leave_out=$(sed -n 's/^\//--dpkgopt=path-exclude=&/p' "$here/leave-out")

# apt has verified the index with Debian's key, and the index has the sha256 of
# each package: hence trusted.
# shellcheck disable=SC2086 # one word for each line
mmdebstrap --mode=root --variant=apt --include="${1%,}" \
    --aptopt='Apt::Install-Recommends "false"' \
    --aptopt='APT::Sandbox::User "root"' --dpkgopt=force-unsafe-io $leave_out \
    --essential-hook="sh '$here/prepare.sh' \"\$1\"" \
    --customize-hook="sh '$here/customize.sh' \"\$1\" '$work/sources'" \
    trixie "$work/root" "deb [trusted=yes] copy:$work/repository ./"

# Nothing of this build or this machine.  Device nodes are the guest's to make,
# and a user could not.
set +f
cd "$work/root"
rm -rf --one-file-system dev/* run/* tmp/* var/cache/ldconfig/* var/cache/apt/* \
    var/cache/debconf/*-old var/lib/apt/lists/* var/lib/dpkg/*-old etc/*- \
    etc/apt/sources.list* etc/apt/apt.conf.d/99mmdebstrap \
    etc/dpkg/dpkg.cfg.d/99mmdebstrap \
    etc/ssl/certs/ssl-cert-snakeoil.pem etc/ssl/private/ssl-cert-snakeoil.key
find var/log -type f -delete
sed -i '/NEW = \/tmp\//d' var/cache/debconf/config.dat
# Empty: systemd makes one up for each boot.
: >etc/machine-id
cd /

# Uncompressed: what a guest would spend on unpacking would be in its counts.
mkfs.erofs -T "$SOURCE_DATE_EPOCH" -U 78363464-6b00-4000-8000-64656269616e \
    --quiet "$work/image" "$work/root"
mv "$work/image" "$out"
