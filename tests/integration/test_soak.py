"""Twenty seconds of ``benchmarks/churn.py``: endpoints, configurations, certificates and clients come and go."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_CHURN = Path(__file__).resolve().parents[2] / "benchmarks" / "churn.py"


class SoakTests(SynchronousTestCase):
    def test_nothing_grows(self) -> None:
        """Every answer is a good one; descriptors, timers and deadlines stay where they were, memory nearly so; it is drawn."""
        result, drawn = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        result.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, str(_CHURN), "--minutes", "0.33", "--every", "4", "--json", str(result), "--svg", str(drawn)],
            capture_output=True, text=True, timeout=90, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        said = json.loads(result.read_text("utf-8"))
        series, counts = said["series"], said["counts"]
        self.assertGreater(counts["requests"], 500)
        self.assertGreater(min(counts[each] for each in ("flaps", "reloads", "certificates")), 0)
        first, last = series[0], series[-1]
        self.assertGreater(last["generation"], first["generation"])
        self.assertLess(last["memory_mib"] - first["memory_mib"], 8.0)
        self.assertLess(max(each["descriptors"] for each in series), 200)
        self.assertLess(max(each["timers"] for each in series), 60)
        self.assertIn("<polyline", drawn.read_text("utf-8"))
