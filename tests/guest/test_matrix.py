# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast model against the one that sees every access: a policy, which the
environment names (all, if not), in all levels, with each of many geometries.
Long, so it runs only on demand."""

import os
import unittest
from typing import Any

from exact import ExactTest

POLICIES = ("fifo", "lru", "random", "tree-plru", "nru")
PRESETS = ("skylake", "golden-cove", "zen3", "zen4", "zen5", "neoverse-n1",
           "ideal")
# Presets are taken as they are; these are sets and ways of the L1 dTLB, the
# L1 iTLB and the STLB of one whose levels have one array each.
SHAPES = {
    "fully-associative": ((1, 64), (1, 32), (1, 1024)),
    "direct-mapped": ((64, 1), (128, 1), (1024, 1)),
    "small": ((4, 2), (4, 2), (16, 4)),
    "tiny": ((1, 2), (1, 2), (1, 8)),
    "odd-sets": ((13, 4), (7, 4), (101, 8)),
    "large": ((64, 8), (64, 8), (512, 16)),
}
LEVELS = ("l1d", "l1i", "stlb")


class Matrix(ExactTest):
    def geometry(self, name: str, policy: str) -> dict[str, Any]:
        config = self.preset(name if name in PRESETS else "zen4")
        config["name"] = f"{name}-{policy}"
        for i, level in enumerate(LEVELS):
            for array in config[level]["arrays"]:
                if name in SHAPES:
                    array["sets"], array["ways"] = SHAPES[name][i]
                    array["hash"] = "modulo"
                array["policy"] = policy
                if policy == "tree-plru":
                    array["ways"] = 1 << array["ways"].bit_length() - 1
        return config


def add(name: str, policy: str) -> None:
    def test(self: Matrix) -> None:
        self.check(self.geometry(name, policy))
    setattr(Matrix, f"test_{name}_{policy}".replace("-", "_"), test)


for replacement in os.environ.get("X64K_POLICY", " ".join(POLICIES)).split():
    for geometry in (*PRESETS, *SHAPES):
        add(geometry, replacement)

if __name__ == "__main__":
    unittest.main()
