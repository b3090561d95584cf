# SPDX-License-Identifier: GPL-2.0-or-later
"""debian/ says what the build and the programs say."""

import re
import unittest

from x64k import VERSION, host
from x64k.paths import ROOT

# Debian's package builders have these anyway: essential, or build-essential.
ANYWAY = {"binutils", "dpkg-dev", "gcc", "libc6-dev", "make", "patch", "perl",
          "util-linux"}


def listed(field: str) -> set[str]:
    """The packages that debian/control names in FIELD."""
    text = (ROOT / "debian/control").read_text()
    found = re.search(rf"^{field}:(.*\n(?:[ \t].*\n)*)", text, re.MULTILINE)
    return {name.split()[0] for name in found[1].split(",")}


class Package(unittest.TestCase):
    def test_build_depends(self):
        self.assertEqual(host.PACKAGES.keys() - ANYWAY,
                         listed("Build-Depends")
                         - {"debhelper-compat", "dh-python", "python3"})

    def test_firmware(self):
        """What the emulator finds by its --firmwarepath."""
        firmware = {name for name, why in host.PACKAGES.items()
                    if "firmware" in why}
        self.assertTrue(firmware)
        self.assertLessEqual(firmware, listed("Depends"))

    def test_what_a_verb_may_need(self):
        known = listed("Recommends") | listed("Suggests")
        for group in ("debian", "report"):
            self.assertLessEqual(host.MORE[group].keys(), known)

    def test_version(self):
        changelog = (ROOT / "debian/changelog").read_text()
        self.assertRegex(changelog, rf"\Ax64k \({re.escape(VERSION)}\) ")


if __name__ == "__main__":
    unittest.main()
