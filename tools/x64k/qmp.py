# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the patched emulator something, without a machine."""

import json
import subprocess
from typing import Any

from x64k import paths, ui


def ask(command: str) -> Any:
    """What `-machine none` answers to the QMP command COMMAND."""
    lines = [{"execute": word} for word in ("qmp_capabilities", command,
                                            "quit")]
    done = subprocess.run(
        [paths.QEMU, "-machine", "none", "-nodefaults", "-no-user-config",
         "-display", "none", "-qmp", "stdio"],
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        capture_output=True, text=True, timeout=60)
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        if "error" in answer:
            raise ui.X64kError(f"the emulator refuses {command}: "
                               f"{answer['error']['desc']}")
        if answer.get("return"):
            return answer["return"]
    raise ui.X64kError(f"the emulator did not answer {command}: "
                       f"{done.stderr.strip()}")
