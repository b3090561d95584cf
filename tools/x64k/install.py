# SPDX-License-Identifier: GPL-2.0-or-later
"""Gathers what `meson install` takes and Meson has not built itself:
python3 -m x64k.install {ours|stock|native} FOLDER."""

import json
import sys
from pathlib import Path

from x64k import steps, versions
from x64k.paths import (CACHE_PLUGIN, INITRAMFS, MODES_TEST, NATIVE_VMLINUX,
                        QEMU, QEMU_STOCK, VMLINUX)

PRODUCTS = {
    "ours": (QEMU, MODES_TEST, VMLINUX, INITRAMFS),
    "stock": (QEMU_STOCK, CACHE_PLUGIN),
    "native": (NATIVE_VMLINUX,),
}


def gather(which: str, folder: Path) -> None:
    for product in PRODUCTS[which]:
        steps.publish(product, folder / product.name)
    if which == "ours":
        # An installed x64k has no git to describe it.
        described = versions.load() | {"x64k": versions.git_description()}
        steps.write_if_changed(folder / "versions.json", json.dumps(
            described, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(steps.guarded(lambda: gather(sys.argv[1], Path(sys.argv[2]))))
