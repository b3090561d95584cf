# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading the machine's apt configuration, and choosing versions."""

import tempfile
import unittest
from pathlib import Path

from x64k import sources, ui, versions
from x64k.sources import Entry

DEB822 = """\
Types: deb
# http://old.example/debian
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm
  bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""

ONE_LINE = """\
# deb http://comment.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/k.gpg] https://mirror.example/debian bookworm main
deb-src http://source.example/debian/ trixie main non-free # trailing
deb cdrom:[Debian]/ bookworm main
deb http://security.example/debian-security trixie-security main
rpm http://no.example x y
"""


class Parse(unittest.TestCase):
    def test_deb822(self):
        entries = list(sources.parse_sources(DEB822))
        self.assertEqual([entry.uri for entry in entries],
                         ["http://mirror.example/debian",
                          "http://second.example/debian",
                          "http://mirror.example/debian-security"])
        self.assertEqual(entries[0].suites, ("bookworm", "bookworm-updates"))
        self.assertEqual(entries[0].components, ("main", "contrib"))
        self.assertIn("debian-archive", entries[0].keyring)

    def test_one_line(self):
        entries = list(sources.parse_list(ONE_LINE))
        self.assertEqual([entry.uri for entry in entries[:2]],
                         ["https://mirror.example/debian",
                          "http://source.example/debian/"])
        self.assertEqual(entries[0].keyring, "/etc/k.gpg")
        self.assertEqual(entries[1].components, ("main", "non-free"))
        self.assertNotIn("http://comment.example/debian",
                         [entry.uri for entry in entries])

    def test_folder_of_both_formats(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            parts = folder / "sources.list.d"
            parts.mkdir()
            (parts / "debian.sources").write_text(DEB822)
            (parts / "more.list").write_text(
                "deb http://more.example/debian trixie main\n")
            (parts / "off.list.disabled").write_text(
                "deb http://off.example/debian trixie main\n")
            entries = sources.read_entries(folder / "sources.list", parts)
            uris = {entry.uri for entry in entries}
            self.assertIn("http://more.example/debian", uris)
            self.assertIn("http://mirror.example/debian", uris)
            self.assertNotIn("http://off.example/debian", uris)


class Choose(unittest.TestCase):
    def test_main_and_security(self):
        entries = list(sources.parse_list(ONE_LINE))
        self.assertEqual(sources.choose_mirrors(entries),
                         ("https://mirror.example/debian",
                          "http://security.example/debian-security"))

    def test_other_archives_come_after_debian(self):
        vendor = Entry("http://vendor.example/apt", ("bookworm",), ("main",))
        debian = Entry("http://mirror.example/debian", ("bookworm",), ("main",))
        self.assertEqual(sources.choose_mirrors([vendor, debian])[0],
                         debian.uri)

    def test_a_mirror_file_of_a_cloud_image(self):
        entry = Entry("mirror+file:///etc/apt/mirrors/debian.list",
                      ("trixie", "trixie-updates"), ("main",))
        self.assertEqual(sources.choose_mirrors([entry]), (entry.uri, None))

    def test_no_mirror_is_an_error(self):
        vendor = Entry("http://vendor.example/apt", ("stable-x",), ("main",))
        with self.assertRaisesRegex(ui.X64kError, "--qemu-source"):
            sources.choose_mirrors([vendor])

    def test_private_list(self):
        text = sources.sources_list("http://m.example/debian",
                                    "http://s.example/sec", "/k.gpg")
        self.assertIn("deb-src [signed-by=/k.gpg target=Sources] "
                      "http://s.example/sec trixie-security main\n", text)
        self.assertEqual(len(text.splitlines()), 6)
        self.assertEqual(len(sources.sources_list(
            "http://m.example/debian", None, "/k.gpg").splitlines()), 4)


class Select(unittest.TestCase):
    def test_newest_first_as_debian_compares(self):
        self.assertEqual(
            sources.newest_first(["6.12.9-1", "6.12.107-1", "6.12.90-2",
                                  "6.12.90-1", "6.12.107-1"]),
            ["6.12.107-1", "6.12.90-2", "6.12.90-1", "6.12.9-1"])

    def test_only_the_series(self):
        self.assertEqual(
            sources.in_series(["1:10.0.2+ds-2+deb13u1", "1:11.1.3+ds-1~bpo13+1",
                               "1:10.0.13+ds-0+deb13u1", "1:10.0~rc1-1",
                               "1:10.1.0+ds-1"], "10.0"),
            ["1:10.0.13+ds-0+deb13u1", "1:10.0.2+ds-2+deb13u1"])

    def test_release_candidates_are_not_releases(self):
        self.assertEqual(sources.in_series(["6.12.1~rc2-1"], "6.12"), [])

    def test_upstream_version(self):
        self.assertEqual(sources.upstream("1:10.0.13+ds-0+deb13u1"), "10.0.13")


class Verify(unittest.TestCase):
    def test_a_damaged_file_is_deleted_and_named(self):
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "x.tar"
            file.write_text("good")
            good = sources.local_source(file)
            sources.verify(good)
            file.write_text("bad")
            with self.assertRaisesRegex(ui.X64kError, "x.tar was damaged"):
                sources.verify(sources.Source("1", "Debian", good.files,
                                              Path(name)))
            self.assertFalse(file.exists())

    def test_a_local_source_must_exist(self):
        with self.assertRaisesRegex(ui.X64kError, "no such tarball or tree"):
            sources.local_source(Path("/nonexistent/qemu.tar.xz"))

    def test_record_merges_and_removes(self):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "versions.json"
            versions.record("debs", {"a": 1}, path)
            versions.record("debs", {"b": 2}, path)
            self.assertEqual(versions.load(path), {"debs": {"a": 1, "b": 2}})
            versions.record("debs", None, path)
            self.assertEqual(versions.load(path), {})
