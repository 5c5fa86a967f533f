"""``voltgw events``: following events from one process to the next."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import Run, run
from voltgw.cli import events


def answer(started: float, *numbers: int) -> tuple[int, dict[str, Any]]:
    """What a gateway that was started then says."""
    return 0, {"started": started, "next": max(numbers, default=0), "events": [
        {"id": number, "time": "t", "level": "info", "kind": "reload.applied", "message": f"of {started}", "fields": {}}
        for number in numbers]}


class FollowTests(SynchronousTestCase):
    def follow(self, *answers: tuple[int, dict[str, Any]]) -> tuple[Run, list[str]]:
        """What is printed, and what was asked, until the gateway is gone."""
        asked: list[str] = []
        coming = iter((*answers, (3, {})))

        def question(where: str, path: str, *keys: str) -> tuple[int, dict[str, Any]]:
            asked.append(path)
            return next(coming)

        with mock.patch.object(events, "question", question), mock.patch("time.sleep"):
            return run(["events", "--follow"]), asked

    def test_each_is_told_once(self) -> None:
        """It asks for what comes after the last one."""
        done, asked = self.follow(answer(1.0, 1, 2), answer(1.0), answer(1.0, 3))
        self.assertEqual([line.split()[0] for line in done.out.splitlines()], ["1", "2", "3"])
        self.assertEqual((done.status, asked), (3, ["/events?since=0", "/events?since=2", "/events?since=2", "/events?since=3"]))

    def test_another_process(self) -> None:
        """Its numbers begin anew, and none of its events is left out."""
        done, asked = self.follow(answer(1.0, 7), answer(2.0), answer(2.0, 1, 2))
        self.assertEqual([line.split()[0] for line in done.out.splitlines()], ["7", "1", "2"])
        self.assertEqual(asked[:3], ["/events?since=0", "/events?since=7", "/events?since=0"])
