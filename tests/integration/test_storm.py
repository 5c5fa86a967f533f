"""Twenty seconds of ``benchmarks/storm.py``: reloads, kills and hot restarts under constant load of six protocols."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_STORM = Path(__file__).resolve().parents[2] / "benchmarks" / "storm.py"


class StormTests(SynchronousTestCase):
    def test_nothing_fails(self) -> None:
        """But for what was under way on killed workers; and everything went on all the time."""
        done = subprocess.run(
            [sys.executable, str(_STORM), "--seconds", "20", "--reloads", "20", "--kills", "4", "--control-kills", "1",
             "--restarts", "2"],
            capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["reloads"], report["kills"], report["control_kills"], report["hot_restarts"]), (20, 4, 1, 2))
        for protocol, counts in report["protocols"].items():
            self.assertEqual(counts["failed"], 0, protocol)
            self.assertGreater(counts["done"], 200, protocol)
