"""What the ring of events keeps, and what whoever asks is told."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import WALL
from voltgw.observe.events import (
    KEPT,
    MAX_ANSWER,
    MAX_FAMILIES,
    MAX_FIELDS,
    MAX_KINDS,
    MAX_TEXT,
    EventRing,
    event_text,
)


class Broken:
    """Something that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class EventRingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.publisher = LogPublisher()
        self.ring = EventRing(lambda: WALL, self.publisher)
        self.ring.start()
        self.log = Logger(namespace="voltgw.test", observer=self.publisher)

    def said(self, number: int = 0, *kinds: str) -> list[tuple[int, str]]:
        return [(event.number, event.kind) for event in self.ring.since(number, kinds)]

    def test_a_line_of_the_log_with_a_kind_is_kept(self) -> None:
        """Time, level, words and fields are those of the line; a line without a kind is none."""
        self.log.warn("stage {stage}, {reason}", event="overload.stage", stage=2, reason="memory")
        self.log.info("chatter")
        (event,) = self.ring.view()["events"]
        self.assertEqual({key: event[key] for key in ("id", "kind", "level", "message", "fields")}, {
            "id": 1, "kind": "overload.stage", "level": "warn", "message": "stage 2, memory",
            "fields": {"stage": 2, "reason": "memory"}})
        self.assertRegex(event["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")

    def test_said_to_the_ring_itself(self) -> None:
        """`say` writes the line of the log, by which it comes to the ring."""
        lines: list[Any] = []
        keep: Any = lines.append
        self.publisher.addObserver(keep)
        self.ring._log = self.log
        self.ring.say("worker.died", "worker {worker} died: {reason}", level="error", worker=3, reason="signal 9")
        self.assertEqual([(each["log_level"], each["event"]) for each in lines], [(LogLevel.error, "worker.died")])
        self.assertEqual(self.ring.view()["events"][0]["message"], "worker 3 died: signal 9")

    def test_nothing_is_kept_before_the_start_and_after_the_stop(self) -> None:
        """The ring of a gateway that has ended holds no observer of the process's log."""
        self.ring.stop()
        self.log.info("late", event="reload.applied")
        self.assertEqual(self.said(), [])

    def test_since(self) -> None:
        """Whoever asks with the number of the last answer is told of each event once."""
        for kind in ("reload.applied", "endpoint.health", "reload.refused"):
            self.log.info("x", event=kind)
        self.assertEqual(self.said(1), [(2, "endpoint.health"), (3, "reload.refused")])
        following = self.ring.view()["next"]
        self.assertEqual((following, self.said(following)), (3, []))
        self.log.info("x", event="gateway.ready")
        self.assertEqual(self.said(following), [(4, "gateway.ready")])

    def test_kinds_and_families(self) -> None:
        """``reload`` is every kind of that family; a kind's beginning is no family."""
        for kind in ("reload.applied", "reload.refused", "endpoint.health", "reloading.x"):
            self.log.info("x", event=kind)
        self.assertEqual([kind for _, kind in self.said(0, "reload")], ["reload.applied", "reload.refused"])
        self.assertEqual([kind for _, kind in self.said(0, "reload.refused", "endpoint")], ["reload.refused", "endpoint.health"])

    def test_a_flood_of_one_family_washes_away_no_other(self) -> None:
        """The reload is still there after ten thousand changes of health, and memory is bounded."""
        self.log.info("x", event="reload.applied")
        for _ in range(10_000):
            self.log.info("x", event="endpoint.health")
        self.assertEqual(len(self.ring.since(1)), KEPT)
        self.assertEqual(self.said()[0], (1, "reload.applied"))

    def test_families_beyond_the_bound_share_a_ring(self) -> None:
        """Nobody who invents kinds makes memory grow."""
        for number in range(MAX_FAMILIES * 20 + KEPT * 2):
            self.log.info("x", event=f"family{number}.x")
        self.assertLessEqual(len(self.ring.since(1)), MAX_ANSWER)
        self.assertLessEqual(sum(map(len, self.ring._rings.values())), (MAX_FAMILIES + 1) * KEPT)
        self.assertEqual(self.said()[-1][0], self.ring.number)
        self.assertEqual((len(self.ring.counts), sum(self.ring.counts.values())), (MAX_KINDS + 1, self.ring.number))

    def test_more_than_one_answer_holds_is_told_in_several(self) -> None:
        """The first look shows the latest; from a number on nothing is left out."""
        for number in range(MAX_ANSWER + 200):
            self.log.info("x", event=f"f{number % 8}.x")
        self.assertEqual(self.said()[-1][0], MAX_ANSWER + 200)
        seen: list[int] = []
        following = 1
        while True:
            answer = self.ring.view(following)
            if not answer["events"]:
                break
            seen += [each["id"] for each in answer["events"]]
            following = answer["next"]
        self.assertEqual(seen, list(range(2, MAX_ANSWER + 201)))

    def test_long_values_many_fields_and_secrets(self) -> None:
        """An event is bounded, plain, and no place for what a log must not say."""
        self.log.info("{url}", event="keys.failed", url="https://id.example/keys?token=geheim", long="x" * 10_000,
                      number=float("nan"), **{f"f{n}": n for n in range(100)})
        (event,) = json.loads(json.dumps(self.ring.view()))["events"]
        self.assertNotIn("geheim", json.dumps(event))
        self.assertEqual(event["fields"]["number"], "nan")
        self.assertEqual(len(event["fields"]), MAX_FIELDS)
        self.assertLessEqual(len(event["fields"]["long"]), MAX_TEXT + 3)

    def test_what_cannot_be_shown(self) -> None:
        """An event with a broken value is counted, and the log goes on."""
        self.log.info("x", event="reload.applied", value=Broken())
        self.log.info("y", event="reload.applied")
        self.assertEqual((self.ring.failures, [event.message for event in self.ring.since()]), (1, ["y"]))

    def test_from_one_process_to_another(self) -> None:
        """What a worker's ring is told of is kept by the control process, with the worker's number, and numbered anew."""
        control = EventRing(lambda: WALL, LogPublisher())
        self.ring.told = lambda said: control.take(json.loads(json.dumps(said)), worker=2)
        self.log.error("down", event="cluster.down", cluster="default/shop")
        (event,) = control.view()["events"]
        self.assertEqual((event["id"], event["level"], event["fields"]), (1, "error", {"cluster": "default/shop", "worker": 2}))

    def test_what_is_no_event_is_refused(self) -> None:
        """Another process cannot put something else into the ring."""
        for said in ({}, {"wall": "x", "kind": "a.b", "level": "info", "message": "", "fields": {}}):
            self.assertRaises((KeyError, ValueError), self.ring.take, said)
        self.assertEqual(self.said(), [])


class TextTests(SynchronousTestCase):
    def test_as_twisted_has_it(self) -> None:
        """The words are those that Twisted makes of an event, whatever is wrong with it."""
        fields: dict[str, Any] = {"n": 7, "s": "{n}", "o": [1, 2], "call": lambda: "called", "b": Broken(), "raw": b"\xff"}
        forms = ("", "plain", "{n}", "{n:>4}|{s!r}", "{o[1]} {n.real}", "{{n}}", "{call()}", "{raw}", "(n) {n}", "{missing}", "{b}",
                 "{", "{n:%%}", None, b"{n}")
        for form in forms:
            event = {**fields, "log_format": form}
            self.assertEqual(event_text(event), formatEvent(event), form)
        self.assertEqual(event_text({}), formatEvent({}))
