# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian image: which packages it is made of, and when it is made anew."""

import hashlib
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import debian, sources, ui

ENTRY = """\
Package: {name}
Version: {version}
Architecture: amd64
Depends: libc6 (>= 2.38),
 libother
Filename: pool/main/{name}.deb
SHA256: {digest}
Description: a package
"""


def entry(name: str, version: str, data: bytes) -> str:
    return ENTRY.format(name=name, version=version,
                        digest=hashlib.sha256(data).hexdigest())


class Cache(unittest.TestCase):
    """With a cache and a build folder of its own, and no mirror."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.debs = self.folder / "debs"
        self.debs.mkdir()
        for target, value in (
                ("x64k.sources.DEBS", self.debs),
                ("x64k.debian.CHOSEN", self.folder / "chosen"),
                ("x64k.debian.DEBIAN", self.folder / "image"),
                ("x64k.debian.MADE_OF", self.folder / "image.made-of")):
            self.patch(target, value)
        self.downloads = self.patch("x64k.sources._download",
                                    side_effect=self.download)
        self.served = {"one": b"1", "two": b"2"}
        self.text = (entry("one", "1:1.0-1", b"1") + "\n"
                     + entry("two", "2.0", b"2"))

    def patch(self, target: str, value=None, **options):
        options |= {} if value is None else {"new": value}
        patcher = mock.patch(target, **options)
        self.addCleanup(patcher.stop)
        return patcher.start()

    def download(self, args: list[str], _name, _title, folder: Path) -> None:
        """As `apt-get download NAME=VERSION...` does it."""
        folder.mkdir()
        for wanted in args[1:]:
            name, version = wanted.split("=")
            version = version.replace(":", "%3a")
            (folder / f"{name}_{version}_amd64.deb").write_bytes(
                self.served[name])


class Index(Cache):
    def test_only_what_is_missing_is_fetched(self):
        (self.debs / "two_2.0_amd64.deb").write_bytes(b"2")
        index = sources.Index(self.text)
        index.fetch()
        self.assertEqual(self.downloads.call_args.args[0],
                         ["download", "one=1:1.0-1"])
        self.assertEqual((self.debs / "one_1%3a1.0-1_amd64.deb").read_bytes(),
                         b"1")
        index.fetch()
        self.assertEqual(self.downloads.call_count, 1)
        self.assertEqual(len(list(self.debs.iterdir())), 2)

    def test_a_damaged_file_is_fetched_again(self):
        (self.debs / "two_2.0_amd64.deb").write_bytes(b"2")
        (self.debs / "one_1%3a1.0-1_amd64.deb").write_bytes(b"damaged")
        sources.Index(self.text).fetch()
        self.assertEqual((self.debs / "one_1%3a1.0-1_amd64.deb").read_bytes(),
                         b"1")

    def test_what_is_not_as_the_index_says_is_refused(self):
        self.served["two"] = b"something else"
        with self.assertRaisesRegex(ui.X64kError, "two_2.0_amd64.deb"):
            sources.Index(self.text).fetch()


class Image(Cache):
    def setUp(self):
        super().setUp()
        self.resolve = self.patch("x64k.sources.resolve", side_effect=lambda _:
                                  sources.Index(self.text))
        self.patch("x64k.sources.APT", self.folder)
        (self.folder / "lists").mkdir()
        (self.folder / "lists/x_Packages").touch()
        self.update = self.patch("x64k.sources.update")
        self.patch("x64k.versions.record")
        self.patch("shutil.which", return_value="/bin/sh")
        self.patch("x64k.sources.fetch_source",
                   side_effect=lambda name, series: sources.Source(
                       series, "Debian", {f"{name}.dsc": "0"}, self.folder))
        self.make = self.patch("x64k.debian.make", side_effect=lambda *_:
                               debian.DEBIAN.write_text("image"))

    def test_made_once_from_versions_chosen_once(self):
        debian.image()
        self.text = self.text.replace("2.0", "2.1")     # the mirror moves on
        debian.image()
        self.assertEqual(self.make.call_count, 1)
        self.assertEqual(self.resolve.call_count, 1)
        self.update.assert_not_called()

    def test_made_anew_if_it_is_gone_or_of_something_else(self):
        debian.image()
        debian.DEBIAN.unlink()
        debian.image()
        self.assertEqual(self.make.call_count, 2)
        debian.MADE_OF.write_text("something else")
        debian.image()
        self.assertEqual(self.make.call_count, 3)

    def test_update_chooses_anew(self):
        debian.image()
        debian.forget()
        self.text = self.text.replace("2.0", "2.1")
        debian.image()
        self.assertEqual(self.make.call_count, 2)
        index = self.make.call_args.args[0]
        self.assertEqual([deb.version for deb in index.debs],
                         ["1:1.0-1", "2.1"])

    def test_a_failure_is_not_taken_for_an_image(self):
        """An image of before would have the wrong contents."""
        debian.image()
        debian.MADE_OF.write_text("something else")
        self.make.side_effect = ui.X64kError("no")
        for _ in range(2):
            with self.assertRaises(ui.X64kError):
                debian.image()

    def test_versions_that_the_mirror_no_longer_has(self):
        debian.image()
        for deb in self.debs.iterdir():
            deb.unlink()
        self.text = self.text.replace("2.0", "2.1")

        def gone(args, *rest):
            if "two=2.0" in args:
                raise sources.NotServed("two 2.0: not there (404)")
            self.download(args, *rest)
        self.downloads.side_effect = gone
        debian.image()
        self.assertEqual(self.update.call_count, 1)
        self.assertEqual(self.make.call_args.args[0].debs[1].version, "2.1")


class Lists(unittest.TestCase):
    def test_packages_are_names(self):
        for words in debian.listed("packages"):
            self.assertEqual(len(words), 1, words)
            self.assertRegex(words[0], r"^[a-z0-9][a-z0-9.+-]+$")

    def test_sources_have_a_series_and_a_part(self):
        for words in debian.listed("sources"):
            self.assertEqual(len(words), 3, words)


if __name__ == "__main__":
    unittest.main()
