# SPDX-License-Identifier: GPL-2.0-or-later
"""Files written all or nothing: a reader never sees half of one."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_bytes(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.absolute().parent,
                                     prefix=f".{path.name}.",
                                     delete=False) as new:
        try:
            new.write(data)
            new.close()
            os.chmod(new.name, 0o644)
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2) + "\n")
