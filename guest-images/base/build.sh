#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the mini guest's base, fit for 64 KB pages: build.sh WORK OUT
#
# WORK has the unpacked source packages that `sources` lists, each by its name,
# and becomes the place of everything temporary.  OUT gets the files as the
# guest has them.  JOBS sets the parallelism.
#
# What is not named here is as in Debian's packages: patches, configuration.
# glibc has one patch more.
set -eu

[ $# -eq 2 ] || { echo "usage: $0 WORK OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
jobs=-j${JOBS:-$(nproc)}
libs=usr/lib/x86_64-linux-gnu

# Nothing of this machine or this moment may get into the files.
export SOURCE_DATE_EPOCH=1754697600 LC_ALL=C KCONFIG_NOTIMESTAMP=1
unset MAKEFLAGS CPPFLAGS LDFLAGS
flags="-O2 -ffile-prefix-map=$work=."

# No 64 KB with parts of two segments.  Text and read-only data are one segment,
# as arm64's linker has it, whose pages may be as large: apart, the padding of
# each file to whole pages would double what the guest loads at each boot.
link=-Wl,-z,max-page-size=65536,-z,noseparate-code,--build-id=none

# What the others are built against, instead of this machine's library.  -B:
# else gcc would look in this machine's folders first.
root=$work/root
target="gcc --sysroot=$root -B$root/$libs $link"

build_glibc() {
    patch -d "$work/glibc" -p1 -s -F0 <"$here/glibc-stacks.patch"
    mkdir "$work/glibc-objects"
    cd "$work/glibc-objects"
    ../glibc/configure --prefix=/usr "--libdir=/$libs" \
        libc_cv_slibdir="/$libs" libc_cv_rtlddir=/usr/lib64 \
        --enable-stack-protector=strong --enable-fortify-source \
        --disable-werror --without-selinux \
        --with-pkgversion='Debian GLIBC, for 64 KB pages' \
        CC="gcc $link" CFLAGS="$flags"
    # Libraries, and of the programs those of a few folders only: the others,
    # and a module for each character set, would take as long again.
    make "$jobs" lib
    make "$jobs" csu/others math/others posix/others
    make install-headers install-bootstrap-headers=yes DESTDIR="$root"

    mkdir -p "$root/$libs" "$root/usr/lib64"
    cp csu/*crt[1in].o libc.a libc_nonshared.a math/libm.a "$root/$libs"
    cp libc.so "$root/$libs/libc.so.6"
    cp math/libm.so "$root/$libs/libm.so.6"
    cp elf/ld.so "$root/usr/lib64/ld-linux-x86-64.so.2"
    ln -s libm.so.6 "$root/$libs/libm.so"
    echo "GROUP(/$libs/libc.so.6 /$libs/libc_nonshared.a" \
        'AS_NEEDED(/usr/lib64/ld-linux-x86-64.so.2))' >"$root/$libs/libc.so"
    # The kernel's headers are this machine's.
    for place in /usr/include /usr/include/x86_64-linux-gnu; do
        for name in asm asm-generic linux mtd; do
            [ ! -d "$place/$name" ] ||
                ln -sfn "$place/$name" "$root/usr/include/$name"
        done
    done

    install_file "$root/$libs/libc.so.6" "$libs/libc.so.6"
    install_file "$root/$libs/libm.so.6" "$libs/libm.so.6"
    install_file elf/ld.so usr/lib64/ld-linux-x86-64.so.2
    install_file posix/getconf usr/bin/getconf
}

build_busybox() {
    cd "$work/busybox"
    cp debian/config/pkg/static .config
    make silentoldconfig </dev/null
    make "$jobs" CC="$target" HOSTCC=gcc SKIP_STRIP=y \
        BB_EXTRA_VERSION='Debian, for 64 KB pages' \
        CONFIG_EXTRA_CFLAGS="-ffile-prefix-map=$work=." busybox
    install_file busybox usr/bin/busybox
}

build_sqlite3() {
    cd "$work/sqlite3"
    # Those of Debian's package: what it defines, and what it tells configure.
    options="$(grep -o -e '-DSQLITE_[A-Z0-9_=]*' debian/rules)
        -DSQLITE_ENABLE_FTS4 -DSQLITE_ENABLE_FTS5
        -DSQLITE_ENABLE_MATH_FUNCTIONS"
    # The library and the shell as one source file each.
    CFLAGS=$options ./configure --disable-tcl --disable-readline
    make sqlite3.c shell.c
    # shellcheck disable=SC2086 # words
    $target $flags -fno-strict-aliasing -static-libgcc $options \
        -D_HAVE_SQLITE_CONFIG_H -I. -o sqlite3 shell.c sqlite3.c -lm
    install_file sqlite3 usr/bin/sqlite3
}

install_file() {
    mkdir -p "$(dirname "$out/$2")"
    strip --strip-unneeded -o "$out/$2" "$1"
    chmod 755 "$out/$2"
}

for package in glibc busybox sqlite3; do
    echo "== $package"
    "build_$package"
done
