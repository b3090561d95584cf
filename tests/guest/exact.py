# SPDX-License-Identifier: GPL-2.0-or-later
"""A real guest, once with only misses of QEMU's own TLB shown to the model,
once with every access: all counts must be equal.  The instruction streams
are, by --icount."""

import json
import tempfile
from pathlib import Path
from typing import Any

from support import GuestTest, mode_of

# Boot, and a little of everything: pipes, sorting, a database.
WORK = ("seq 1000 | sort -r | sort -n >/tmp/s; sqlite3 /tmp/t.db '"
        "create table t(a); with recursive c(x) as (select 1 union all "
        "select x + 1 from c where x < 200) insert into t select x * 7919 % "
        "1000 from c; create index i on t(a); select sum(a) from t'")

# Known only if every access is seen.
ONLY_OBSERVED = {f"l1{kind}-{what}" for kind in "di"
                 for what in ("lookup", "hit")}


class ExactTest(GuestTest):
    def preset(self, name: str) -> dict[str, Any]:
        return json.loads(self.x64k("tlb", "show", name, "--json").stdout)

    def check(self, config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tlb.json")
            path.write_text(json.dumps(config))
            runs = {what: mode_of(self.compare(
                        "--icount", "--modes", "contig", "--tlb", str(path),
                        "--tlb-observe", what, "--timeout", "850",
                        "--", "sh", "-c", WORK), "contig")
                    for what in ("misses", "every")}
        fast, oracle = (runs[what]["counters"] for what in runs)
        self.assertEqual(fast.keys(), oracle.keys())
        self.assertGreater(oracle["l1d-lookup"], 1000000)
        self.assertGreater(oracle["stlb-load-miss"], 100)
        self.assertEqual({name: (fast[name], oracle[name]) for name in
                          sorted(fast.keys() - ONLY_OBSERVED)
                          if fast[name] != oracle[name]}, {})
        # Conservation: each lookup is a hit or a miss.
        self.assertEqual(oracle["l1d-lookup"], oracle["l1d-hit"]
                         + oracle["l1d-load-miss"] + oracle["l1d-store-miss"])
        self.assertEqual(oracle["l1i-lookup"],
                         oracle["l1i-hit"] + oracle["l1i-miss"])
