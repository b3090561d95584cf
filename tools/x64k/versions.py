# SPDX-License-Identifier: GPL-2.0-or-later
"""What exactly was built: build/versions.json, and `x64k --version`."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from x64k import VERSION, locks
from x64k.paths import (INSTALLED, NATIVE_VMLINUX, QEMU, QEMU_STOCK, ROOT,
                        VERSIONS, VMLINUX, shown)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path = VERSIONS) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}


def record(section: str, value: Any, path: Path = VERSIONS) -> None:
    """Sets SECTION; two dictionaries are merged.  None removes it."""
    if INSTALLED and path == VERSIONS:
        return      # what was built is known, and only read
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.hold(path.with_name(f".{path.name}.lock"),
                    f"another x64k writes {shown(path)}"):
        known = load(path)
        if value is None:
            known.pop(section, None)
        elif isinstance(value, dict) and isinstance(known.get(section), dict):
            known[section] |= value
        else:
            known[section] = value
        fresh = path.with_name(path.name + ".partial")
        fresh.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
        fresh.rename(path)


def git_description() -> str:
    found = subprocess.run(
        # It may be another user's.
        ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "describe",
         "--always", "--dirty"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return found.stdout.strip() if found.returncode == 0 else "no git"


def report() -> str:
    known = load()
    lines = [f"x64k {VERSION} ({known.get('x64k') or git_description()})"]
    for name, title in ("qemu", "QEMU"), ("linux", "Linux"):
        if name not in known:
            lines.append(f"{title}: not fetched yet")
            continue
        entry = known[name]
        lines.append(f"{title} {entry['version']}, from {entry['origin']}, "
                     f"{entry['patches']} patches of ours")
        lines += [f"  sha256 {digest}  {file}"
                  for file, digest in sorted(entry["files"].items())]
    for name, entry in sorted(known.get("base", {}).items()):
        lines.append(f"{name} {entry['version']}, built for the guest")
        lines += [f"  sha256 {digest}  {file}"
                  for file, digest in sorted(entry["files"].items())]
    for name, entry in sorted(known.get("debs", {}).items()):
        lines.append(f"guest package {name} {entry['version']}\n"
                     f"  sha256 {entry['sha256']}")
    if image := known.get("debian-image"):
        lines.append(f"Debian image of {len(image['packages'])} packages\n"
                     f"  sha256 {image['sha256']}")
    for title, path in (("patched QEMU", QEMU), ("stock QEMU", QEMU_STOCK),
                        ("guest kernel", VMLINUX),
                        ("guest kernel with 64 KB pages", NATIVE_VMLINUX)):
        if path.exists() or not INSTALLED:
            built = shown(path) if path.exists() else "not built"
            lines.append(f"{title}: {built}")
    if not QEMU.exists():
        lines.append("nothing is built yet: ./x64k build")
    return "\n".join(lines)
