# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k qemu: the patched emulator itself."""

import argparse
import os

from x64k import build
from x64k.paths import QEMU


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "qemu", help="run the patched emulator: x64k qemu -- ARGS",
        usage="x64k qemu [building options] -- ARGS...",
        description="Builds the patched qemu-system-x86_64 if need be and "
        "becomes it. build/bin/qemu-system-x86_64 may be run directly, too.")
    build.add_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    build.ensure(args, "qemu")
    os.execv(QEMU, [str(QEMU), *args.rest])
