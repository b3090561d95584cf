# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs unittest files and reports in TAP: python3 -m x64k.tap FILE..."""

import importlib.util
import sys
import traceback
import unittest
from pathlib import Path


class TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.number = 0
        self.current_failed = False

    def _line(self, test: unittest.TestCase, verdict: str, note: str = "",
              detail: str = "") -> None:
        self.number += 1
        name = test.id().split(".", 1)[-1].replace("#", "")
        print(f"{verdict} {self.number} - {name}{note}")
        for line in detail.splitlines():
            print(f"# {line}")
        sys.stdout.flush()

    def _fail(self, test: unittest.TestCase, error) -> None:
        self._line(test, "not ok",
                   detail="".join(traceback.format_exception(*error)))

    def startTest(self, test):
        super().startTest(test)
        self.current_failed = False

    def addSuccess(self, test):
        if not self.current_failed:
            self._line(test, "ok")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fail(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.current_failed = True
            self._fail(subtest, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(test, "ok", f" # SKIP {reason}")

    def addExpectedFailure(self, test, err):
        self._line(test, "not ok", " # TODO expected")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._line(test, "not ok", detail="an expected failure passed")


def main(files: list[str]) -> int:
    suite = unittest.TestSuite()
    for file in map(Path, files):
        sys.path.insert(0, str(file.parent))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    print("TAP version 13")
    result = TapResult()
    suite.run(result)
    print(f"1..{result.number}")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
