"""Long answers: in shares, and not for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from voltgw.observe.answers import SEND_TIMEOUT_S, SLICE_BYTES, SLICE_S, Sending, in_parts, json_list, json_parts


class Transport:
    """Notes whether it was cut."""

    def __init__(self) -> None:
        self.cut = False

    def abortConnection(self) -> None:
        """Cut."""
        self.cut = True


class Asked:
    """What `Sending` needs of a `twisted.web.server.Request`."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.writes: list[bytes] = []
        self.producer: Sending | None = None
        self.finished = False
        self._notice: Deferred[None] = Deferred()

    def notifyFinish(self) -> Deferred[None]:
        """Fires at the end."""
        return self._notice

    def registerProducer(self, producer: Sending, streaming: bool) -> None:
        """A pull producer."""
        assert not streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """It is done."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """A share."""
        self.writes.append(data)

    def finish(self) -> None:
        """The end."""
        self.finished = True
        self._notice.callback(None)

    def hang_up(self) -> None:
        """The client goes."""
        self._notice.errback(Failure(ConnectionError()))


class SendingTests(SynchronousTestCase):
    """Shares bounded by time and size."""

    def setUp(self) -> None:
        """A request and a clock."""
        self.clock = Clock()
        self.asked = Asked()

    def tearDown(self) -> None:
        """No timer is left, however it ended."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def send(self, pieces: Iterator[bytes]) -> Sending:
        """Begin to send."""
        request: Any = self.asked
        return Sending(request, pieces, self.clock, self.clock.seconds)

    def test_small_pieces_are_joined(self) -> None:
        """One write for what is ready in time."""
        sending = self.send(iter([b"a", b"b", b"c"]))
        sending.resumeProducing()
        self.assertEqual((self.asked.writes, self.asked.finished, self.asked.producer), ([b"abc"], True, None))

    def test_pieces_that_take_time(self) -> None:
        """A share ends after its time; the next one is for the next turn."""
        def slow() -> Iterator[bytes]:
            for _ in range(4):
                self.clock.advance(SLICE_S * 0.6)
                yield b"x"

        sending = self.send(slow())
        sending.resumeProducing()
        self.assertEqual((self.asked.writes, self.asked.finished), ([b"xx"], False))
        sending.resumeProducing()
        sending.resumeProducing()
        self.assertEqual((self.asked.writes, self.asked.finished), ([b"xx", b"xx"], True))

    def test_large_pieces(self) -> None:
        """A share ends when it is large."""
        sending = self.send(iter([b"x" * SLICE_BYTES, b"y"]))
        sending.resumeProducing()
        self.assertEqual([len(write) for write in self.asked.writes], [SLICE_BYTES])
        sending.resumeProducing()
        self.assertEqual(self.asked.writes[1:], [b"y"])

    def test_a_client_that_does_not_read(self) -> None:
        """Its connection is cut after a minute."""
        sending = self.send(iter([b"x" * SLICE_BYTES] * 10))
        sending.resumeProducing()
        self.clock.advance(SEND_TIMEOUT_S - 1)
        self.assertFalse(self.asked.transport.cut)
        self.clock.advance(1)
        self.assertTrue(self.asked.transport.cut)
        sending.resumeProducing()
        self.assertEqual(len(self.asked.writes), 1)

    def test_a_client_that_hangs_up(self) -> None:
        """Nothing more is made for it."""
        made: list[int] = []

        def pieces() -> Iterator[bytes]:
            for number in range(10):
                made.append(number)
                yield b"x" * SLICE_BYTES

        sending = self.send(pieces())
        sending.resumeProducing()
        self.asked.hang_up()
        sending.stopProducing()
        sending.resumeProducing()
        self.assertEqual((made, self.asked.transport.cut), ([0], False))

    def test_a_bug_while_sending(self) -> None:
        """The connection is cut, and the failure stands in the log."""
        def broken() -> Iterator[bytes]:
            yield b"x"
            raise RuntimeError("bug")

        self.send(broken()).resumeProducing()
        self.assertTrue(self.asked.transport.cut)
        self.assertFalse(self.asked.finished)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.asked.hang_up()


class JsonListTests(SynchronousTestCase):
    """Lists in pieces."""

    def test_lists(self) -> None:
        """None, one or several items make one valid object."""
        for items in ([], [{"a": 1}], [{"a": "<é>"}, {"b": None}]):
            self.assertEqual(json.loads(b"".join(json_list("things", items).body)), {"things": items})


class PartsTests(SynchronousTestCase):
    """`json_parts`: one large value."""

    def test_it_is_the_json_of_the_whole(self) -> None:
        """With the same indents, whatever stands in it."""
        for value in ({}, {"a": 1}, {"a": {"b": [1, {"c": None}]}, "d": []}, {"a": iter(()), "b": "x"},
                      {"a": 1, "many": iter([{"b": 1}, {"c": [2, 3]}, 4])}):
            listed: dict[str, Any] = {key: list(each) if isinstance(each, Iterator) else each for key, each in value.items()}
            again = {key: iter(each) if isinstance(value[key], Iterator) else each for key, each in listed.items()}
            self.assertEqual("".join(in_parts(again)), json.dumps(listed, indent=2) + "\n")

    def test_items_are_made_as_they_are_asked_for(self) -> None:
        """So that a long list is many short turns."""
        made: list[int] = []

        def items() -> Iterator[dict[str, int]]:
            for number in range(1000):
                made.append(number)
                yield {"number": number}

        answer = json_parts({"gateway": {}, "objects": items()})
        pieces = iter(answer.body)
        for _ in range(10):
            next(pieces)
        self.assertLess(len(made), 12)
        self.assertEqual(answer.content_type, "application/json")
