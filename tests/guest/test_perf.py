# SPDX-License-Identifier: GPL-2.0-or-later
"""perf in the guest, unmodified, on our kernel and on Debian's own.

Downloads perf and a kernel image when it first runs."""

import json
import re
import unittest

from support import GuestTest

PAGES = 8192                # more than any level of zen3 holds

# guilty loads a byte of each page in each pass: N passes less M passes are a
# closed form of what only the passes do.  Counted in user mode.
SCRIPT = f"""
exec 2>&1
for passes in 10 30; do
    perf stat -x, -e dTLB-load-misses:u,dTLB-loads:u,instructions:u \\
        -o /tmp/stat -- guilty {PAGES} $passes >/dev/null
    echo "== stat$passes"
    cat /tmp/stat
done
cd /tmp
perf record -q -e dTLB-load-misses -- guilty {PAGES} 50 >/dev/null
echo '== record'
perf report --stdio --sort symbol 2>/dev/null | cat
perf record -q -- guilty {PAGES} 50 >/dev/null
echo '== cycles'
perf report --stdio --sort symbol 2>/dev/null | cat
tlbstat -j -p pmucheck -o /tmp/region -- pmucheck >/tmp/events
echo '== events'
cat /tmp/events
echo '== region'
cat /tmp/region
echo '== detailed'
perf stat -d -- guilty 100 1
echo '== issue'
perf stat -e dTLB-load-misses,dTLB-loads,iTLB-load-misses -- guilty 100 1
echo '== dmesg'
dmesg
"""


def numbers(text: str) -> dict[str, int]:
    """Of perf stat -x,: value, unit, event, ..."""
    rows = [line.split(",") for line in text.splitlines()
            if re.match(r"[0-9<]", line)]
    return {row[2].split(":")[0]: int(row[0]) for row in rows}


def share(text: str, symbol: str) -> float:
    """Of perf report: its percent."""
    found = re.search(rf"^\s*([0-9.]+)%\s+\[.\]\s+{symbol}\s", text,
                      re.MULTILINE)
    assert found, text
    return float(found[1])


class Perf:
    """One boot; the tests read what it printed."""
    options: tuple[str, ...] = ()
    driver = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        ran = cls().boot("4k", "--pmu", *cls.options, "--", "sh", "-c", SCRIPT)
        cls.warnings = ran.stderr
        parts = ran.stdout.decode().replace("\r", "").split("== ")[1:]
        cls.parts = dict(part.split("\n", 1) for part in parts)

    def test_driver(self):
        """The kernel found the counters, and check_hw_exists() passed."""
        self.assertRegex(self.parts["dmesg"],
                         rf"Performance Events: .*{self.driver}")
        self.assertNotIn("software events only", self.parts["dmesg"])
        self.assertNotIn("unchecked MSR access", self.parts["dmesg"])
        self.assertNotIn("Uhhuh", self.parts["dmesg"])

    def test_closed_form(self):
        """20 passes more, each load a miss.  How a program starts and ends
        is not the same twice: a timer's interrupt may fall into it."""
        few, many = (numbers(self.parts[f"stat{n}"]) for n in (10, 30))
        self.assertAlmostEqual(
            many["dTLB-load-misses"] - few["dTLB-load-misses"], 20 * PAGES,
            delta=50)

    def test_guilty_function(self):
        self.assertGreaterEqual(share(self.parts["record"], "guilty"), 95)

    def test_cycles(self):
        """The default event: both functions take time."""
        self.assertGreater(share(self.parts["cycles"], "guilty"), 5)
        self.assertGreater(share(self.parts["cycles"], "innocent"), 1)

    def test_stat(self):
        for part in ("detailed", "issue"):
            self.assertIn("Performance counter stats for", self.parts[part])
        for event in ("dTLB-load-misses", "dTLB-loads", "iTLB-load-misses"):
            self.assertRegex(self.parts["issue"], rf"[1-9]\d*\s+{event}")


class Model:
    """What perf counts is what the model counted in the same region."""

    def test_same_region(self):
        events = {name: int(value) for name, value in
                  (line.split() for line in self.parts["events"].splitlines())}
        (region,) = json.loads(self.parts["region"])["regions"]
        count = region["counters"]
        self.assertEqual(count["walk-faulted"], 0)
        self.assertEqual(count["walk-rights"], 0)
        self.assertGreater(events["dTLB-load-misses"], 10000)
        self.assertEqual(events["dTLB-loads"], sum(
            value for name, value in count.items()
            if name.startswith("l1d-fill-")))
        self.assertEqual(events["dTLB-load-misses"], count["stlb-load-miss"]
                         + count["stlb-store-miss"])
        self.assertEqual(events["iTLB-loads"],
                         count["l1i-miss"] - count["stlb-fetch-miss"])
        self.assertEqual(events["iTLB-load-misses"], count["stlb-fetch-miss"])


class Zen(Perf, Model, GuestTest):
    """Family 17h.  Neighbouring pages must not share an entry here."""
    options = ("--cpu", "EPYC", "--tlb-coalesce", "1")
    driver = "AMD PMU driver"

    def test_loads(self):
        """On family 17h dTLB-loads are the L1 dTLB's misses."""
        few, many = (numbers(self.parts[f"stat{n}"]) for n in (10, 30))
        self.assertAlmostEqual(many["dTLB-loads"] - few["dTLB-loads"],
                               20 * PAGES, delta=200)

    def test_unknown_events(self):
        """What the kernel knows not to be there is not supported; of what it
        does not ask about, the user is told."""
        self.assertRegex(self.parts["detailed"],
                         r"<not supported>\s+LLC-loads")
        self.assertIn("event 0xc3, unit mask 0x0, which cannot be counted",
                      self.warnings)
        self.assertNotIn("event 0x45", self.warnings)


class Zen4(Perf, Model, GuestTest):
    """With the global registers."""
    options = ("--tlb", "zen4", "--tlb-coalesce", "1")
    driver = "AMD PMU driver"


class Skylake(Perf, GuestTest):
    options = ("--tlb", "skylake", "--cpus", "2")
    driver = "Intel PMU driver"

    def test_stat(self):
        self.assertRegex(self.parts["issue"], r"[1-9]\d*\s+dTLB-load-misses")
        self.assertRegex(self.parts["detailed"], r"<not supported>\s+branches")


class Debian(Perf, Model, GuestTest):
    """The kernel of Debian 13, as it is.  Its NMI watchdog has a counter."""
    options = ("--kernel", "debian", "--tlb-coalesce", "1", "--mem", "1G")
    driver = "AMD PMU driver"

    def test_watchdog(self):
        self.assertIn("NMI watchdog: Enabled", self.parts["dmesg"])


if __name__ == "__main__":
    unittest.main()
