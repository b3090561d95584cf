# SPDX-License-Identifier: GPL-2.0-or-later
"""What Linux's own tests say of themselves, and how two runs differ.

Most print TAP, others lines of their own.  A case is known by what is said to
be run, or else by what is printed of it; the n-th case of a name in one run is
the n-th in another."""

import fnmatch
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x64k import guest
from x64k.check import FAIL, PASS, SKIP

LIST = Path(__file__).with_name("selftests.toml")

EXIT, KERNEL = "exit", "kernel"     # the cases that each program has
MISSING = "missing"
NEVER_ENDED = "never ended"
KSFT_SKIP = 4
KILLED = 137                        # by the time limit

# cow and the like; mkdirty; khugepaged.
RUN = re.compile(r"(?:# \[RUN\] |# \[INFO\] (?!.*(?:detected|failed))|"
                 r"Run test: )(.*)")
COLOURS = {"1": FAIL, "2": PASS, "3": SKIP}
WORDS = {"done": PASS, "failed": FAIL, "skipped": SKIP, "PASSED": PASS,
         "OK": PASS, "FAIL": FAIL, "SKIP": SKIP}

Verdicts = dict[str, str]           # by case


@dataclass(frozen=True)
class Program:
    run: str
    seconds: int = 300
    before: str = ""
    after: str = ""
    user: bool = False
    attempts: int = 1

    def command(self) -> str:
        """For the guest's shell."""
        folder, _, line = self.run.partition("/")
        run = f"cd /tmp/selftests/{folder} && exec ./{line}"
        if self.user:
            run = f"su nobody -c '{run}'"
        # In this process, so that the time limit finds it.
        lines = [self.before, run]
        if self.after:
            lines[1:] = [f"({run}); status=$?", self.after, "exit $status"]
        return "\n".join(filter(None, lines))


def listed() -> tuple[list[Program], list[dict[str, Any]],
                      list[dict[str, Any]]]:
    """The programs, unstable cases and differences of selftests.toml."""
    known = tomllib.loads(LIST.read_text())
    return ([Program(**entry) for entry in known["programs"]],
            known.get("unstable", []), known.get("difference", []))


def tap(line: str) -> tuple[str, str] | None:
    """`ok 1 name # SKIP why`, or as kselftest.h has it, `ok 1 # SKIP name`."""
    found = re.match(r"(not )?ok\b\s*\d*\s*-?\s*([^#]*)(?:#\s*(\w+)\s*(.*))?",
                     line)
    if not found:
        return None
    bad, name, word, rest = found.groups()
    verdict = (SKIP if (word or "").upper() == "SKIP" else
               FAIL if bad else PASS)
    return name.strip() or (rest or "").strip(), verdict


def cases(text: str) -> Iterator[tuple[str, str]]:
    """Name and verdict of what a program reports, in its order."""
    context, seen = "", set()
    for line in re.split(r"[\r\n]+", text):
        if line.startswith("x64k-kernel "):
            continue
        if found := RUN.match(line):
            context = found[1]
        elif found := tap(line):
            # Why it is skipped is no name that it has when it is not.
            yield context or found[0], found[1]
        elif found := re.match(r"(.*?)\.*\s*\x1b\[3([123])m", line):
            yield (f"{context}: {found[1].strip()}".removeprefix(": "),
                   COLOURS[found[2]])
        elif found := re.match(r"Testing (.*)\.\.\. (done|failed|skipped)",
                               line):                       # uffd-unit-tests
            yield found[1], WORDS[found[2]]
        elif ((found := re.match(r"(test +\d+) (PASSED)", line))
              and found[1] not in seen):    # protection_keys: again and again
            seen.add(found[1])
            yield found[1], WORDS[found[2]]
        elif found := re.match(r"\[(OK|FAIL|SKIP)\]\s*(.*)", line):     # x86
            yield found[2], WORDS[found[1]]


def plain(name: str) -> str:
    """Without what differs each time: addresses, times, lost races."""
    name = re.sub(r"\b([Ee]xtra (?:pages|thread faults)) \d+(?: \([\d.]+%\))?",
                  r"\1 *", name)
    name = re.sub(r"\b0x[0-9a-fA-F]+\b|\b[0-9a-f]{8,16}\b", "*", name)
    return re.sub(r"\b\d+(?:\.\d+)? ?(?:ns|us|ms|s|sec|seconds)\b", "* s", name)


def status_verdict(status: int) -> str:
    return (PASS if status == 0 else SKIP if status == KSFT_SKIP else
            NEVER_ENDED if status == KILLED else f"status {status}")


def verdicts(text: str, status: int) -> Verdicts:
    found: Verdicts = {}
    count: Counter[str] = Counter()
    for name, verdict in cases(text):
        name = plain(name)
        count[name] += 1
        found[name if count[name] == 1 else f"{name} ({count[name]})"] = verdict
    complaints = [line for line in re.findall(r"^x64k-kernel (.*)", text,
                                              re.MULTILINE)
                  if guest.KERNEL_COMPLAINTS.search(line)]
    found[EXIT] = status_verdict(status)
    found[KERNEL] = FAIL if complaints else PASS
    return found


def read(output: str) -> dict[str, Verdicts]:
    """By program, of what the guest has printed; a program that has begun and
    not ended took the guest with it.  Of several attempts the last one counts,
    and what the kernel complained of in any."""
    parts = re.split(r"^x64k-selftest begin (.*)\n", output.replace("\r\n", "\n"),
                     flags=re.MULTILINE)
    results = {}
    for name, text in zip(parts[1::2], parts[2::2]):
        text, ended, rest = text.partition("x64k-selftest end ")
        found = verdicts(text, int(rest.split()[0]) if ended else KILLED)
        if not ended or results.get(name, found)[KERNEL] == FAIL:
            found[KERNEL] = FAIL
        results[name] = found
    return results


def summary(results: dict[str, Verdicts]) -> str:
    """Programs by how they ended, and cases by verdict."""
    ends = Counter(found[EXIT] for found in results.values())
    count = Counter(verdict for found in results.values() for name, verdict
                    in found.items() if name not in (EXIT, KERNEL))
    other = sum(ends.values()) - ends[PASS] - ends[SKIP]
    return (f"{len(results)} programs: {ends[PASS]} passed, {other} failed, "
            f"{ends[SKIP]} skipped; {sum(count.values())} cases: "
            f"{count[PASS]} passed, {count[FAIL]} failed, {count[SKIP]} "
            "skipped")


def matches(entry: dict[str, Any], program: str, case: str) -> bool:
    return (fnmatch.fnmatchcase(program, entry["program"])
            and any(fnmatch.fnmatchcase(case, pattern)
                    for pattern in entry["cases"]))


def differences(stock: Verdicts, ours: Verdicts) -> dict[str, tuple[str, str]]:
    """By case: the verdict on the stock kernel, and the other one."""
    return {case: (stock.get(case, MISSING), ours.get(case, MISSING))
            for case in [*stock, *(name for name in ours if name not in stock)]
            if stock.get(case) != ours.get(case)}


def judge(program: str, configuration: str, stock: Verdicts, ours: Verdicts
          ) -> list[str]:
    """What is wrong: differences that the list does not have, and those that it
    has and that are not there."""
    _, unstable, known = listed()
    found = {case: pair for case, pair in differences(stock, ours).items()
             if not any(matches(entry, program, case) for entry in unstable)}
    wrong, used = [], set()
    for case, (before, after) in found.items():
        hits = [n for n, entry in enumerate(known)
                if configuration in entry["configurations"]
                and matches(entry, program, case)
                and (entry["stock"], entry["here"]) == (before, after)]
        used |= set(hits)
        if not hits:
            wrong.append(f"{case}: {after}, on the stock kernel {before}")
    wrong += [f"{', '.join(entry['cases'])}: listed as {entry['here']}, on the "
              f"stock kernel {entry['stock']}, which did not occur"
              for n, entry in enumerate(known)
              if n not in used and configuration in entry["configurations"]
              and fnmatch.fnmatchcase(program, entry["program"])]
    return wrong
