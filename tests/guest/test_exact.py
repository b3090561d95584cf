# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast model against the one that sees every access; exact.py."""

import unittest

from exact import ExactTest


class Exact(ExactTest):
    def test_skylake(self):
        self.check(self.preset("skylake"))

    def test_least_recently_used(self):
        """Policies that look at hits, in L1 too."""
        config = self.preset("zen4")
        for level in ("l1d", "l1i"):
            for array in config[level]["arrays"]:
                array["policy"] = "lru" if level == "l1d" else "nru"
        self.check(config)


if __name__ == "__main__":
    unittest.main()
