# SPDX-License-Identifier: GPL-2.0-or-later
"""The slow targets of meson.build: python3 -m x64k.steps STEP [STAMP]."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from x64k import build, meson, proc, trees, ui, upstream
from x64k.paths import (BUILD, CACHE_PLUGIN, LOGS, QEMU, QEMU_FUZZER,
                        QEMU_SANITIZED, QEMU_STOCK)

# The same for both emulators: every speed is a ratio of the two.  The
# firmware is Debian's; named here, the binary finds it with no option.
CONFIGURE = [
    f"--python={sys.executable}",
    "--target-list=x86_64-softmmu", "--without-default-features",
    "--enable-tcg", "--enable-plugins", "--enable-system", "--enable-pixman",
    "--enable-attr", "--enable-virtfs",
    "--disable-werror", "--disable-docs", "--disable-tools",
    "--disable-download", "--disable-install-blobs",
    "--firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu",
]

# QEMU clears registers and variables, against guests that have already broken
# in.  It promises no such safety under TCG (its docs/system/security.rst), and
# every function on the way to a refill of its TLB pays for it.
RELAX = ["-ftrivial-auto-var-init=uninitialized", "-fzero-call-used-regs=skip"]

# Several times slower: for tests that take hostile input.
SANITIZE = ["--enable-asan", "--enable-ubsan"]

# The fuzzer is clang's.
FUZZ = ["--cc=clang", "--cxx=clang++", "--host-cc=clang", "--enable-fuzzing"]


def write_if_changed(path: Path, text: str) -> None:
    """Ninja goes by the time stamp: the same text must not look new."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def source_step(up: trees.Upstream) -> Callable[[Path], None]:
    def step(stamp: Path) -> None:
        trees.ensure(up)
        write_if_changed(stamp, trees.work(up))
    return step


def relaxed() -> list[str]:
    """configure's option for RELAX, as far as the compiler knows them."""
    known = [flag for flag in RELAX if not subprocess.run(
        [os.environ.get("CC", "cc"), "-Werror", flag, "-E", "-x", "c",
         os.devnull], capture_output=True, check=False).returncode]
    return [f"--extra-cflags={' '.join(known)}"] if known else []


def compile_qemu(name: str, title: str, tree: Path, objects: Path,
                 targets: list[str], options: list[str] = CONFIGURE,
                 relax: bool = True) -> None:
    """Configures QEMU if need be and lets its own ninja do the rest."""
    env = meson.environment()
    options = [*options, *(relaxed() if relax else [])]
    configured = objects / "x64k-configured"
    wanted = "\n".join([*options, env["PYTHONPATH"]])
    if not (configured.exists() and configured.read_text() == wanted):
        objects.mkdir(parents=True, exist_ok=True)
        proc.logged([os.path.relpath(tree / "configure", objects), *options],
                    f"{name}-configure", f"Configuring {title}", cwd=objects,
                    env=env, detail="")
        configured.write_text(wanted)
    proc.logged(["ninja", *targets], name, f"Building {title}",
                cwd=objects, env=env)


def publish(built: Path, place: Path) -> None:
    """A hard link, not a symbolic one: QEMU looks for its firmware in
    another way if it finds itself in its build folder."""
    if place.exists() and place.samefile(built):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(place.name + ".partial")
    fresh.unlink(missing_ok=True)
    fresh.hardlink_to(built)
    fresh.rename(place)


def qemu(_: Path) -> None:
    compile_qemu("qemu", "QEMU", trees.QEMU.tree, BUILD / "qemu",
                 ["qemu-system-x86_64"])
    publish(BUILD / "qemu/qemu-system-x86_64", QEMU)


def qemu_stock(_: Path) -> None:
    trees.ensure_stock(trees.QEMU)
    objects = trees.QEMU.stock_objects
    # The plugin that models caches is what the TLB model is measured against.
    compile_qemu("qemu-stock", "stock QEMU", trees.QEMU.stock, objects,
                 ["qemu-system-x86_64", "contrib/plugins/libcache.so"])
    publish(objects / "qemu-system-x86_64", QEMU_STOCK)
    publish(objects / "contrib/plugins/libcache.so", CACHE_PLUGIN)


def qemu_sanitized(_: Path) -> None:
    objects = BUILD / "sanitized/qemu"
    compile_qemu("qemu-sanitized", "QEMU with sanitizers", trees.QEMU.tree,
                 objects, ["qemu-system-x86_64"], CONFIGURE + SANITIZE)
    publish(objects / "qemu-system-x86_64", QEMU_SANITIZED)


def qemu_fuzzer(_: Path) -> None:
    objects = BUILD / "fuzzer/qemu"
    compile_qemu("qemu-fuzzer", "the fuzzer of QEMU's devices",
                 trees.QEMU.tree, objects, ["qemu-fuzz-x86_64"],
                 CONFIGURE + SANITIZE + FUZZ, relax=False)
    publish(objects / "qemu-fuzz-x86_64", QEMU_FUZZER)


def qtest(_: Path) -> None:
    if names := build.qtests():
        compile_qemu("qtest", "the qtests", trees.QEMU.tree, BUILD / "qemu",
                     [f"tests/qtest/{name}" for name in names]
                     + [f"tests/qtest/x64k/{name}"
                        for name in build.qtest_benches()])


def upstream_qtest(_: Path) -> None:
    compile_qemu("upstream-qtest", "QEMU's own qtests", trees.QEMU.tree,
                 BUILD / "qemu", [f"tests/qtest/{test['name']}"
                                  for test in upstream.programs()])


STEPS = {
    "qemu-src": source_step(trees.QEMU),
    "linux-src": source_step(trees.LINUX),
    "qemu": qemu,
    "qemu-stock": qemu_stock,
    "qemu-sanitized": qemu_sanitized,
    "qemu-fuzzer": qemu_fuzzer,
    "qtest": qtest,
    "upstream-qtest": upstream_qtest,
}


def end_with(pid: int) -> None:
    """Ends us when x64k is gone.  Between it and us is a ninja, which waits
    for us: x64k interrupts the whole group, unless it was killed itself."""
    def watch() -> None:
        select.select([handle], [], [])
        os.kill(os.getpid(), signal.SIGTERM)
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        sys.exit(128 + signal.SIGTERM)
    threading.Thread(target=watch, daemon=True).start()


def guarded(step: Callable[[], object]) -> int:
    """Runs STEP as a target of the build: ends with its parent, and leaves an
    error for x64k to print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if master := os.environ.get("X64K_PID"):
        end_with(int(master))
    try:
        step()
    except ui.X64kError as error:
        LOGS.mkdir(parents=True, exist_ok=True)
        build.FAILURE.write_text(f"{error}\n")
        print(f"x64k: error: {error}")
        return error.status
    except OSError as error:
        build.FAILURE.write_text(f"{error}\n")
        return 125
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def main(argv: list[str]) -> int:
    if argv == ["list-qtests"]:
        print("\n".join(build.qtests()))
        return 0
    if argv == ["list-tool-tests"]:
        print("\n".join(build.tool_tests()))
        return 0
    name, stamp = argv
    return guarded(lambda: STEPS[name](Path(stamp)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
