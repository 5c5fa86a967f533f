"""What clients and endpoints have said is shown on a terminal as text, and does nothing else there."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from voltgw.cli import events as events_command
from voltgw.cli import plan as plan_command
from voltgw.cli import why as why_command

#: As terminals take them for "begin in red", and for a title.
HOSTILE = "\x9b31m\x1b]0;gone\x07\nanother line"
CONFIG = "load_balancers:\n- {name: shop, listen: '127.0.0.1:8080', origins: ['127.0.0.1:9001']}\n"


class TerminalTests(SynchronousTestCase):
    def lines(self, out: str) -> None:
        """All of it is text, and nothing stands on a line of its own."""
        self.assertTrue(all(line.isprintable() for line in out.split("\n")), out)
        self.assertFalse([line for line in out.split("\n") if line.startswith("another line")], out)
        self.assertIn("another line", out)

    def test_events(self) -> None:
        """Their messages quote others."""
        event = {"id": 1, "time": "2026-01-01T00:00:00Z", "level": "warn", "kind": "tracing.not_sent", "message": HOSTILE}
        facts: dict[str, Any] = {"events": [event], "next": 1, "started": 0.0}
        with patch.object(events_command, "question", lambda *_: (0, facts)):
            done = run(["events"])
        self.lines(done.out)

    def test_requests_that_would_go_elsewhere(self) -> None:
        """Their targets are those of clients."""
        moved = {"request": f"GET http://shop/{HOSTILE}", "before": "a", "after": "b"}
        file = self.mktemp()
        with open(file, "w", encoding="utf-8") as one:
            one.write(CONFIG)
        with (patch.object(plan_command, "_running", lambda admin: (0, 1, [{}])),
              patch.object(plan_command, "old_config", lambda files, number, new: ("number 1", new)),
              patch.object(plan_command, "_moved", lambda old, new, recent: iter([moved]))):
            done = run(["plan", "--live", file])
        self.lines(done.out)

    def test_a_request_of_the_past(self) -> None:
        """Its id, name and target are its client's; so is some of what decided."""
        facts: dict[str, Any] = {
            "request_id": HOSTILE, "time": "2026-01-01T00:00:00Z", "kind": "error", "generation": 1, "method": "GET",
            "authority": HOSTILE, "target": f"/{HOSTILE}", "http_version": "HTTP/1.1",
            "decisions": [{"about": "client", "outcome": "192.0.2.1", "why": HOSTILE.replace("\n", " ")}]}
        with patch.object(why_command, "answer", lambda *_: (200, facts)):
            done = run(["why", "x"])
        self.lines(done.out)
