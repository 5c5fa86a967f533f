"""What a client says first is heard the same in whatever pieces it comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.net.test_sniff import hello_of
from tests.proxy.test_outside import HOME, Resolver
from tests.security.test_egress import policies
from tests.support import SteppedLoopCase, interpreted_only
from voltgw.proxy.forward.hearing import ACCESS_DENIED, HEARING_S, MAX_HEARD_BYTES, UNRECOGNIZED_NAME, Hearing
from voltgw.proxy.forward.interception import Action
from voltgw.proxy.forward.lookup import Lookup
from voltgw.proxy.forward.outside import OutsideCounters
from voltgw.proxy.forward.settings import Egress
from voltgw.security.destinations import Guard
from voltgw.security.egress import Flow

#: By name, by URL, by address.
TABLE = ("{allow_list: {tls_list: [{exact_value: a.example}, {exact_value: lie.example}], http_list: [{suffix_value: example, "
         "any_path: {}}], dest_list: [{prefixes: [192.0.2.0/24], port_ranges: '22'}], default_action_deny: {}}}")


class Heard(Hearing):
    """Writes down what follows."""

    outcome: tuple[Any, ...] = ()

    def relay(self) -> None:
        self._is("relay", self.done())

    def take_requests(self) -> None:
        self._is("requests", self.done())

    def open_tls(self, action: Action) -> None:
        self._is("open", self.done())

    def refuse(self, alert: int, detail: str) -> None:
        self.done()
        self._is("refused", alert, detail.partition(":")[0])

    def client_left(self) -> None:
        self._is("left")

    def _is(self, *outcome: Any) -> None:
        assert not self.outcome, (self.outcome, outcome)
        self.outcome = outcome


class Transport:
    """Only remembers whether it is read."""

    def __init__(self) -> None:
        self.reads = True
        self.protocol: Any = None

    def pauseProducing(self) -> None:
        self.reads = False


class HearingTests(SteppedLoopCase):
    def setUp(self) -> None:
        super().setUp()
        self.resolver = Resolver()
        self.counters = OutsideCounters()
        lookup = Lookup(self.loop, lambda network: self.resolver)
        self.factory: Any = SimpleNamespace(
            egress=Egress("system/out", policies(TABLE), Guard(), explicit=False, network=HOME),
            outside=SimpleNamespace(counters=self.counters, lookup=lookup), under_way=set(),
            plane=SimpleNamespace(deadlines=self.loop.deadlines, monotonic=self.loop.monotonic))
        lookup.ask(HOME, b"a.example")
        lookup.ask(HOME, b"lie.example")
        self.resolver.answer(0, "192.0.2.1")
        self.resolver.answer(1, "192.0.2.2")

    def hearing(self, held: bytes = b"", port: int = 443, **options: Any) -> Heard:
        made = Heard(self.factory, Flow("10.0.0.1", b"", port, address="192.0.2.1"), b"")
        made.hear(Transport(), held, **options)
        return made

    @interpreted_only
    def test_in_any_pieces(self) -> None:
        """Byte by byte, and cut in two anywhere: the same outcome, with all that was said."""
        hello, lie, nameless = hello_of("a.example")[0], hello_of("lie.example")[0], hello_of(None)[0]
        request = b"BREW /pot HTTP/1.1\r\nHost: a.example\r\n\r\n"
        cases: tuple[tuple[bytes, int, tuple[Any, ...]], ...] = (
            (hello, 443, ("relay", hello)), (lie, 443, ("refused", UNRECOGNIZED_NAME, "forward_name")),
            (nameless, 443, ("refused", ACCESS_DENIED, "forward_proxy_policy")), (nameless, 22, ("relay", nameless)),
            (request, 80, ("requests", request)), (b"\r\n " + request, 80, ("requests", b"\r\n " + request)),
            (b"GET /\r\n\r\n", 80, ("requests", b"GET /\r\n\r\n")), (b"SSH-2.0-x\r\n\r\n", 22, ("relay", b"SSH-2.0-x\r\n\r\n")),
            (b"SSH-2.0-x\r\n", 23, ("refused", ACCESS_DENIED, "forward_proxy_policy")))
        for said, port, outcome in cases:
            cuts = [[said], [said[at:at + 1] for at in range(len(said))]]
            cuts += [[said[:at], said[at:]] for at in range(1, len(said), max(1, len(said) // 40))]
            for pieces in cuts:
                one = self.hearing(pieces[0], port)
                for piece in pieces[1:]:
                    if one.outcome:
                        break
                    one.dataReceived(piece)
                self.assertEqual(one.outcome[0], outcome[0], (said, len(pieces)))
                if outcome[0] == "refused":
                    self.assertEqual(one.outcome, outcome)
                else:                           # it may be known before all of it has come
                    self.assertTrue(outcome[1].startswith(one.outcome[1]), one.outcome)
        self.assertEqual(self.factory.under_way, set())

    @interpreted_only
    def test_silence(self) -> None:
        """It decides nothing: the connection ends. A client that leaves first leaves nothing behind."""
        silent, gone = self.hearing(), self.hearing()
        gone.readConnectionLost()
        self.assertEqual(gone.outcome, ("left",))
        self.advance(HEARING_S - 1)
        self.assertEqual(silent.outcome, ())
        self.advance(2)
        self.assertEqual((silent.outcome, self.counters.unheard), (("refused", 0, "forward_silence"), 1))
        self.assertEqual(self.factory.under_way, set())

    @interpreted_only
    def test_a_name_that_has_to_be_looked_up(self) -> None:
        """Nothing more is read meanwhile; whoever leaves is forgotten, and the answer goes nowhere."""
        hello = hello_of("new.example")[0]
        one, left = self.hearing(hello), self.hearing(hello)
        self.assertEqual((one.outcome, one.transport.reads), ((), False))
        left.connectionLost(None)               # type: ignore[arg-type]  # nobody asks why
        self.resolver.answer(2, "192.0.2.1")
        self.assertEqual((one.outcome, left.outcome), (("refused", ACCESS_DENIED, "forward_proxy_policy"), ("left",)))

    @interpreted_only
    def test_a_server_that_speaks_first_and_one_that_is_not_parsed(self) -> None:
        """Neither HTTP nor TLS."""
        one = self.hearing(port=22)
        one.server_spoke()
        self.assertEqual(one.outcome, ("relay", b""))
        self.assertEqual(self.hearing(hello_of("a.example")[0], 23, look=False).outcome[0], "refused")

    @interpreted_only
    def test_so_much_is_kept(self) -> None:
        """Then reading stops; an endless first line is no request."""
        one = self.hearing(b"x" * 30)
        one.dataReceived(b"y" * MAX_HEARD_BYTES)
        self.assertEqual(one.outcome[0], "refused")
        half = self.hearing(hello_of("new.example")[0])
        half.dataReceived(b"z" * MAX_HEARD_BYTES)
        self.assertFalse(half.transport.reads)
        half.connectionLost(None)               # type: ignore[arg-type]  # nobody asks why
        self.resolver.answer(2)
