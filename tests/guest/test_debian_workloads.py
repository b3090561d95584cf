# SPDX-License-Identifier: GPL-2.0-or-later
"""Each workload of the Debian guest, as test_workloads has those of ours."""

import unittest

from workload_case import InAGuest

from x64k import paths


class Debian(InAGuest):
    def setUp(self):
        if not paths.DEBIAN.exists():
            self.skipTest("no Debian image: x64k build debian")

    def test_contig(self):
        regions = self.check("contig", "debian")
        # The server's work is in the region, not only its client's.
        self.assertGreater(regions["redis"]["guest"]["anon_kb"],
                           regions["redis"]["guest"]["max_rss_kb"])

    def test_damage_is_found(self):
        self.check_damaged("debian")


if __name__ == "__main__":
    unittest.main()
