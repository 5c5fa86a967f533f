"""Clients and endpoints that do anything in any order: whatever happens, nothing is left over and nothing is a bug of ours."""

from __future__ import annotations

from random import Random

from h2.exceptions import ProtocolError

from tests.proxy.rig import Wire
from tests.proxy.rig2 import ASK, Peer2, Proxy2Case
from voltgw.values.retry import RetryPlan

POST = ((b":method", b"POST"), *ASK[1:])


class _Play:
    """One run: `steps` draws what happens next."""

    def __init__(self, case: Proxy2Case, random: Random) -> None:
        self.case = case
        self.random = random
        self.clients = [case.client2(window=random.choice((10, 1000, 65535))) for _ in range(2)]
        self.origins: list[Peer2 | Wire] = []
        self.uploads: list[tuple[Peer2, int]] = []

    def step(self) -> None:
        """Something happens."""
        random = self.random
        client = random.choice(self.clients)
        self.present: Peer2 = client
        try:
            getattr(self, random.choice((
                "ask", "ask", "upload", "more", "reset", "accept", "accept", "fail", "answer", "answer", "answer", "wait",
                "cut", "turn")))(client)
        except ProtocolError:
            self.lose(self.present)         # it would have broken a rule; the library is of no use from then on
        for _ in range(6):
            self.case.turn()
            for peer in [*self.clients, *(each for each in self.origins if isinstance(each, Peer2))]:
                if not peer.wire.gone and not peer.goaways:
                    try:
                        peer.read()
                    except ProtocolError:   # more streams than it takes, before we knew
                        self.lose(peer)

    def lose(self, peer: Peer2) -> None:
        """This one leaves."""
        if not peer.wire.gone:
            peer.wire.reset()
        if all(each.wire.gone for each in self.clients):
            self.clients.append(self.case.client2())

    def ask(self, client: Peer2) -> None:
        """A request without a body."""
        client.ask()

    def upload(self, client: Peer2) -> None:
        """The beginning of one with a body."""
        self.uploads.append((client, client.ask(POST, ended=False)))

    def more(self, client: Peer2) -> None:
        """More of a body, or its end."""
        if self.uploads:
            client, stream = self.random.choice(self.uploads)
            self.present = client
            room = client.h2.local_flow_control_window(stream)
            client.send(stream, b"x" * min(room, self.random.randrange(5000)), ended=self.random.random() < 0.4)

    def reset(self, client: Peer2) -> None:
        """The client gives a request up."""
        if client.seen:
            client.reset(self.random.choice(list(client.seen)), 8)

    def accept(self, client: Peer2) -> None:
        """An endpoint accepts."""
        if self.case.rig.dials:
            wire = self.random.choice(self.case.rig.dials).accept()
            if self.case.origin_2:
                peer = Peer2(wire, False, max_streams=self.random.choice((1, 2, 100)))
                peer.greedy = self.random.random() < 0.8
                self.origins.append(peer)
            else:
                self.origins.append(wire)

    def fail(self, client: Peer2) -> None:
        """An endpoint refuses."""
        if self.case.rig.dials and self.random.random() < 0.5:
            self.random.choice(self.case.rig.dials).fail()

    def answer(self, client: Peer2) -> None:
        """An endpoint says something."""
        if not self.origins:
            return
        origin, random = self.random.choice(self.origins), self.random
        if isinstance(origin, Wire):
            if not origin.gone:
                origin.send(random.choice((
                    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"y" * 40000, b"y" * 50000, b"HTTP/1.1 103 Hints\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\nX-A: b\r\n\r\n", b"rubbish\r\n\r\n")))
        elif origin.requests and not origin.wire.gone:
            self.present = origin
            stream = random.choice(origin.requests)
            what = random.randrange(6)
            if what == 0:
                origin.answer(stream, 200, [], b"hello")
            elif what == 1:
                origin.answer(stream, random.choice((204, 503)))
            elif what == 2:
                origin.answer(stream, 200, [], b"y" * 500, ended=False)
            elif what == 3:
                origin.send(stream, b"y" * min(9000, origin.h2.local_flow_control_window(stream)), ended=random.random() < 0.5)
            elif what == 4:
                origin.reset(stream, random.choice((2, 7, 8)))
            else:
                origin.trailers(stream, [(b"x-sum", b"1")])

    def wait(self, client: Peer2) -> None:
        """Time passes."""
        self.case.advance(self.random.choice((0.1, 1.0, 11.0, 40.0)))

    def cut(self, client: Peer2) -> None:
        """Somebody leaves."""
        if self.random.random() < 0.15:
            wires = [each.wire for each in self.clients]
            wires += [each if isinstance(each, Wire) else each.wire for each in self.origins]
            wire = self.random.choice(wires)
            if not wire.gone:
                wire.reset()
            if all(each.wire.gone for each in self.clients):
                self.clients.append(self.case.client2())

    def turn(self, client: Peer2) -> None:
        """Nothing new; what is on its way arrives."""


class ToVersion1Tests(Proxy2Case):
    endpoint_count = 2

    def test_anything(self) -> None:
        """120 runs of 60 steps; each ends with everything closed and every count back at zero."""
        self.play()

    def play(self) -> None:
        """The runs, with a retry policy in every other one."""
        for seed in range(120):
            self.route.retry = RetryPlan(frozenset(("5xx", "reset")), 2, base_s=0.0, max_s=0.0, non_idempotent=True,
                                         per_try_timeout_s=2.0, hedge=seed % 4 == 1) if seed % 2 else None
            play = _Play(self, Random(seed))
            for _ in range(60):
                play.step()
            for dial in list(self.rig.dials):
                dial.fail()
            self.turn()
            try:
                self.check_nothing_left()
            except self.failureException as error:
                raise self.failureException(f"seed {seed}: {error}") from error


class ToVersion2Tests(ToVersion1Tests):
    origin_2 = True
