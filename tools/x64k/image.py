# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's targets of guest-images/meson.build:
python3 -m x64k.image {kernel|native-kernel|initramfs|...} STAMP [PROGRAM...]"""

import runpy
import sys
from pathlib import Path

from x64k import base, debian, linux, selftests, steps, versions
from x64k.paths import GUEST, INITRAMFS, ROOT

IMAGES = ROOT / "guest-images"


def initramfs(programs: list[Path]) -> None:
    GUEST.mkdir(parents=True, exist_ok=True)
    script = runpy.run_path(str(IMAGES / "mini/build.py"))
    versions.record("debs", None)
    script["build"](INITRAMFS, base.folder(), programs)


STEPS = {
    "kernel": linux.kernel,
    "native-kernel": linux.native_kernel,
    "debian": debian.image,
    "debug-kernel": selftests.debug_kernel,
    "native-debug-kernel": selftests.native_debug_kernel,
    "selftests-kernel": selftests.kernel,
    "stock-kernel": selftests.stock_kernel,
    "selftest-programs": selftests.programs,
}


def main(name: str, stamp: str, *programs: str) -> int:
    def step() -> None:
        if name == "initramfs":
            initramfs([Path(program) for program in programs])
        else:
            STEPS[name]()
        Path(stamp).touch()
    return steps.guarded(step)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
