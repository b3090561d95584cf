# SPDX-License-Identifier: GPL-2.0-or-later
import sys

from x64k import streams

streams.guard()

from x64k.cli import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
