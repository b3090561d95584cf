# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k demo: the comparison on two commands, and what it says."""

import argparse
from typing import Any

from x64k import build, compare, guest, report

TOUCHER = [b"toucher"]
SQLITE = [b"sh", b"-c",
          b"sqlite3 -bail /tmp/demo.db </usr/share/x64k/sqlite.sql"]

L1_FILLS = r"l1d-fill-.*"
WALKS = r"walk-completed"
AS_MANY = 0.03      # a difference below this counts as none


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "demo", help="boot four modes, compare the TLBs on two programs",
        description="Boot a real Linux guest in the modes 4k, emulated, contig "
        "and native; in each touch 64 MB of memory in three ways, and build and "
        "query an SQLite database of over 50 MB; print what the TLBs did.")
    guest.add_options(parser, tlb="skylake")
    build.add_options(parser)
    return parser


def versus(base: int | None, value: int | None, what: str) -> str:
    """How VALUE compares to BASE, in words: '15.6 times fewer walks'."""
    if not base or value is None:
        return f"no count of {what} to compare"
    if abs(value - base) <= AS_MANY * base:
        return f"as many {what} ({100 * (value - base) / base:+.1f} %)"
    if not value:
        return f"no {what} at all"
    times, word = ((base / value, "fewer") if value < base else
                   (value / base, "more"))
    return f"{times:,.{0 if times >= 100 else 1}f} times {word} {what}"


def sentence(toucher: list[dict[str, Any]], sqlite: list[dict[str, Any]]
             ) -> str:
    """Reads the result: every word that judges depends on the numbers."""
    def counted(pattern: str, mode: str, name: str | None = None
                ) -> int | None:
        part = next(m for m in (toucher if name else sqlite)
                    if m["mode"] == mode)
        if name:
            part = report.region(part, name)
        return report.total(part["counters"], pattern)

    def faults(mode: str) -> int:
        part = next(m for m in toucher if m["mode"] == mode)
        return report.region(part, "first-touch")["guest"]["page_faults"]

    def first_touch(mode: str) -> str:
        return versus(faults("4k"), faults(mode), "page faults")

    def to_4k(pattern: str, mode: str, what: str,
              name: str | None = None) -> str:
        return versus(counted(pattern, "4k", name),
                      counted(pattern, mode, name), what)

    def dense(mode: str) -> str:
        return to_4k(L1_FILLS, mode, "L1 dTLB fills", "dense")

    def random(mode: str) -> str:
        return to_4k(WALKS, mode, "walks", "random")

    def all_three(mode: str) -> str:
        return (f"the dense passes need {dense(mode)}, the random reads "
                f"{random(mode)}, and SQLite "
                f"{to_4k(L1_FILLS, mode, 'L1 dTLB fills')} and "
                f"{to_4k(WALKS, mode, 'walks')}")

    tell = {
        "emulated": lambda mode: "64 KB folios on the same hardware (emulated) "
        f"take {first_touch(mode)} in first touch, but the dense passes need "
        f"{dense(mode)} and the random reads {random(mode)}",
        "contig": lambda mode: "with the contiguity hint (contig) "
        + all_three(mode),
        "native": lambda mode: "with 64 KB pages of the kernel (native) first "
        f"touch takes {first_touch(mode)}, {all_three(mode)}",
    }
    ran = [one["mode"] for one in toucher]
    if "4k" not in ran or len(ran) == 1:
        return ""
    return "Against 4 KB pages, " + "; ".join(
        tell[mode](mode) for mode in ran if mode in tell) + "."


def run(args: argparse.Namespace) -> int:
    build.ensure(args, "qemu", "guest")
    toucher, sqlite = compare.run_modes(args, guest.default_modes(args),
                                        [TOUCHER, SQLITE])
    print(f"\nTLB model {args.tlb}, guest memory {args.mem}")
    print(f"\ntoucher: 64 MB of anonymous memory\n\n{report.table(toucher)}")
    print(f"sqlite3: build and query a database of over 50 MB\n\n"
          f"{report.table(sqlite)}")
    if report.region_names(toucher):
        print(sentence(toucher, sqlite))
    return 0
