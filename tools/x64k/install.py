# SPDX-License-Identifier: GPL-2.0-or-later
"""Gathers what `meson install` takes and Meson has not built itself:
python3 -m x64k.install FOLDER."""

import json
import sys
from pathlib import Path

from x64k import steps, versions
from x64k.paths import INITRAMFS, MODES_TEST, QEMU, VMLINUX


def gather(folder: Path) -> None:
    for product in (QEMU, MODES_TEST, VMLINUX, INITRAMFS):
        steps.publish(product, folder / product.name)
    # An installed x64k has no git to describe it.
    described = versions.load() | {"x64k": versions.git_description()}
    steps.write_if_changed(folder / "versions.json", json.dumps(
        described, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(steps.guarded(lambda: gather(Path(sys.argv[1]))))
