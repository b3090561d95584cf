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
        "demo", help="boot three modes, compare the TLBs on two programs",
        description="Boot a real Linux guest in the modes 4k, emulated and "
        "contig; in each touch 64 MB of memory in three ways, and build and "
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

    def to_4k(pattern: str, mode: str, what: str,
              name: str | None = None) -> str:
        return versus(counted(pattern, "4k", name),
                      counted(pattern, mode, name), what)

    return (
        "Against 4 KB pages, 64 KB folios on the same hardware (emulated) "
        f"take {versus(faults('4k'), faults('emulated'), 'page faults')} in "
        "first touch, but the dense passes need "
        f"{to_4k(L1_FILLS, 'emulated', 'L1 dTLB fills', 'dense')} and the "
        f"random reads {to_4k(WALKS, 'emulated', 'walks', 'random')}; with "
        "the contiguity hint (contig) the dense passes need "
        f"{to_4k(L1_FILLS, 'contig', 'L1 dTLB fills', 'dense')}, the random "
        f"reads {to_4k(WALKS, 'contig', 'walks', 'random')}, and SQLite "
        f"{to_4k(L1_FILLS, 'contig', 'L1 dTLB fills')} and "
        f"{to_4k(WALKS, 'contig', 'walks')}.")


def run(args: argparse.Namespace) -> int:
    build.ensure(args, "qemu", "guest")
    toucher, sqlite = compare.run_modes(args, list(guest.DEFAULT_MODES),
                                        [TOUCHER, SQLITE])
    print(f"\nTLB model {args.tlb}, guest memory {args.mem}")
    print(f"\ntoucher: 64 MB of anonymous memory\n\n{report.table(toucher)}")
    print(f"sqlite3: build and query a database of over 50 MB\n\n"
          f"{report.table(sqlite)}")
    if report.region_names(toucher):
        print(sentence(toucher, sqlite))
    return 0
