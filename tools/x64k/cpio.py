# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes initramfs archives (cpio, format newc) that depend on nothing but
their contents: owner root, time 0, numbers in order.  The kernel takes several
such archives one after the other, hence finish() pads to 512 bytes."""

import stat
from typing import BinaryIO


class Archive:
    def __init__(self, out: BinaryIO):
        self._out = out
        self._offset = 0
        self._inode = 0
        self._directories: set[str] = set()

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._offset += len(data)

    def _pad(self, unit: int) -> None:
        self._write(bytes(-self._offset % unit))

    def _entry(self, name: str, mode: int, data: bytes = b"",
               device: tuple[int, int] = (0, 0)) -> None:
        path = name.encode() + b"\0"
        self._inode += 1
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device,
                  len(path), 0)
        self._write(b"070701" + b"".join(b"%08x" % f for f in fields) + path)
        self._pad(4)
        self._write(data)
        self._pad(4)

    def _parents(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        if parent:
            self.directory(parent)

    def directory(self, name: str) -> None:
        if name not in self._directories:
            self._parents(name)
            self._directories.add(name)
            self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, executable: bool = False) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFREG | (0o755 if executable else 0o644),
                    data)

    def link(self, name: str, target: str) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finish(self) -> None:
        self._entry("TRAILER!!!", 0)
        self._pad(512)
