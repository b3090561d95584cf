# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the emulator something: one without a machine, or one that runs."""

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from x64k import paths, ui


def ask(command: str, **arguments: Any) -> Any:
    """What `-machine none` answers to the QMP command COMMAND."""
    lines = [{"execute": "qmp_capabilities"},
             {"execute": command, "arguments": arguments},
             {"execute": "quit"}]
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


class Client:
    """Talks with an emulator that listens on a Unix socket."""

    def __init__(self, path: Path, patience_s: float = 30.0):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patience_s)
        begin = time.monotonic()
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                # It may not have come to this yet.
                if time.monotonic() - begin > patience_s:
                    raise ui.X64kError("the emulator does not answer: "
                                       f"{error}") from error
                time.sleep(0.02)
        self._stream = self._socket.makefile("r", encoding="utf-8")
        self._read()        # its greeting
        self.execute("qmp_capabilities")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self._stream.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._stream.readline()
        except OSError as error:
            raise ui.X64kError(f"the emulator does not answer: {error}") \
                from error
        if not line:
            raise ui.X64kError("the emulator has ended")
        return json.loads(line)

    def execute(self, command: str, **arguments: Any) -> Any:
        request = {"execute": command, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise ui.X64kError("the emulator has ended") from error
        while True:
            answer = self._read()
            if "error" in answer:
                raise ui.X64kError(f"the emulator refuses {command}: "
                                   f"{answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            # Else it is an event.
