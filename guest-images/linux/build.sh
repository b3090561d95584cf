#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the guest kernel: build.sh SRC OBJ OUT [FRAGMENT...]
#
# SRC is a patched Linux tree (never written to), OBJ the object tree, OUT gets
# vmlinux (boots with -kernel through PVH) and bzImage.  FRAGMENTs are merged
# after x64k.config and patched.config; STOCK=1 leaves out the latter, for a tree
# without our patches.  JOBS sets the parallelism, CC the compiler ("ccache gcc").
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 3 ] || { echo "usage: $0 SRC OBJ OUT [FRAGMENT...]" >&2; exit 2; }
src=$(cd "$1" && pwd)
mkdir -p "$2" "$3"
obj=$(cd "$2" && pwd)
out=$(cd "$3" && pwd)
shift 3

# Nothing of this machine or this moment may get into the image.
KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
KBUILD_BUILD_USER=x64k
KBUILD_BUILD_HOST=x64k
KBUILD_BUILD_VERSION=1
LC_ALL=C
export KBUILD_BUILD_TIMESTAMP KBUILD_BUILD_USER KBUILD_BUILD_HOST \
    KBUILD_BUILD_VERSION LC_ALL
unset MAKEFLAGS KCONFIG_CONFIG ARCH CROSS_COMPILE

# A second tree at another path must hit the compiler cache as well: let paths
# below SRC and OBJ not count.
if command -v ccache >/dev/null; then
    CCACHE_BASEDIR=$(dirname "$obj")
    CCACHE_NOHASHDIR=1
    export CCACHE_BASEDIR CCACHE_NOHASHDIR
    : "${CC:=ccache gcc}"
fi
: "${CC:=gcc}"

# LOCALVERSION: else the release would tell whether SRC is a git tree.
kmake() {
    make -C "$src" O="$obj" ARCH=x86_64 CC="$CC" HOSTCC="$CC" \
        LOCALVERSION=-x64k "$@"
}

fragment=$obj/x64k.fragment
cat "$here/x64k.config" >"$fragment.new"
[ -n "${STOCK-}" ] || cat "$here/patched.config" >>"$fragment.new"
for extra in "$@"; do
    case $extra in
    /*) ;;
    *) extra=$here/$extra ;;
    esac
    cat "$extra" >>"$fragment.new"
done
# Of two lines about one option the later one counts, as for kconfig.
awk '{ name = $0; sub(/^# /, "", name); sub(/[= ].*/, "", name) }
     name ~ /^CONFIG_/ { last[name] = NR }
     { line[NR] = $0; of[NR] = name }
     END { for (i = 1; i <= NR; i++)
               if (!(of[i] in last) || last[of[i]] == i) print line[i] }' \
    "$fragment.new" >"$fragment.merged"
mv "$fragment.merged" "$fragment.new"

# Configure only when the fragment changed: a new .config rebuilds a lot.
if [ ! -f "$obj/.config" ] || ! cmp -s "$fragment" "$fragment.new" ||
    [ "$src" != "$(cat "$obj/x64k.src" 2>/dev/null)" ]; then
    rm -f "$fragment"
    kmake tinyconfig >/dev/null
    cat "$fragment.new" >>"$obj/.config"
    # kconfig warns about each value that the fragment overrides: expected.
    kmake olddefconfig 2>&1 | grep -vE 'override:|^(#|make)' || true

    missing=$(grep -E '^(# )?CONFIG_' "$fragment.new" | while read -r line; do
        case $line in
        CONFIG_*) grep -qxF "$line" "$obj/.config" || echo "  $line" ;;
        *) # "is not set", or not even offered: both mean off
            option=${line#\# }
            ! grep -q "^${option%% *}=" "$obj/.config" || echo "  $line" ;;
        esac
    done)
    if [ -n "$missing" ]; then
        printf 'build.sh: these options did not take in %s:\n%s\n' \
            "$obj/.config" "$missing" >&2
        exit 1
    fi
    echo "$src" >"$obj/x64k.src"
    mv "$fragment.new" "$fragment"
else
    rm -f "$fragment.new"
fi

kmake -j"${JOBS:-$(nproc)}" vmlinux bzImage

# Copy only what changed, so that nothing downstream runs again for nothing.
for image in vmlinux arch/x86/boot/bzImage; do
    cmp -s "$obj/$image" "$out/${image##*/}" ||
        cp "$obj/$image" "$out/${image##*/}"
done
