"""Stock Twisted protocols on our streams: any of them runs on our endpoints, unchanged."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import FileSender, LineReceiver
from twisted.protocols.portforward import ProxyFactory
from twisted.protocols.wire import Echo
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from tests.support import LoopCase, Recorder, Recorders
from voltgw.net.connector import StreamClientEndpoint
from voltgw.net.listener import StreamServerEndpoint
from voltgw.net.loop import Loop


class Quiet(Factory):
    """A factory that does not log."""

    noisy = False


class Lines(LineReceiver):
    """Answers each line; ``bye`` ends it, and what comes behind in the same piece is not answered."""

    def lineReceived(self, line: bytes) -> None:
        """One line."""
        if line == b"bye":
            self.transport.loseConnection()         # type: ignore[union-attr]
        else:
            self.sendLine(line[::-1])


class ProtocolTests(LoopCase):
    async def port(self, factory: Any) -> int:
        """Listen with a stock factory through our endpoint."""
        listener: Any = await StreamServerEndpoint(self.loop, "127.0.0.1", 0).listen(factory)
        self._listeners.append(listener)
        return int(listener.getHost().port)

    async def test_line_receiver(self) -> None:
        """LineReceiver, which asks its transport whether it is `disconnecting`."""
        peer = await self.client(await self.port(Quiet.forProtocol(Lines)))
        peer.send(b"abc\r\ndef\r\nbye\r\nunheard\r\n")
        await peer.ended()
        self.assertEqual(peer.received, b"cba\r\nfed\r\n")

    async def test_echo(self) -> None:
        """wire.Echo, with more than any kernel buffer takes."""
        peer = await self.client(await self.port(Quiet.forProtocol(Echo)))
        data = hashlib.sha256(b"seed").digest() * 100_000
        peer.send(data)
        await self.until(lambda: len(peer.received) == len(data))
        self.assertEqual(hashlib.sha256(peer.received).digest(), hashlib.sha256(data).digest())

    async def test_port_forward(self) -> None:
        """portforward.ProxyFactory on our listener: each side is the producer of the other, one on ours, one on Twisted's."""
        origin = self.origin(lambda peer, data: peer.send(data))
        factory = ProxyFactory("127.0.0.1", origin.port)
        factory.noisy = False
        peer = await self.client(await self.port(factory))
        data = hashlib.sha256(b"seed").digest() * 100_000
        peer.send(data)
        await self.until(lambda: len(peer.received) == len(data))
        self.assertEqual(hashlib.sha256(peer.received).digest(), hashlib.sha256(data).digest())
        peer.close()
        await origin.peers[0].ended()

    async def test_a_file_sent_as_pull_producer(self) -> None:
        """FileSender, a pull producer, and `loseConnection` behind it."""
        content = b"0123456789abcdef" * 200_000

        class Sender(Protocol):
            def connectionMade(self) -> None:
                done = FileSender().beginFileTransfer(BytesIO(content), self.transport)
                done.addCallback(lambda _: self.transport.loseConnection())        # type: ignore[union-attr]

        peer = await self.client(await self.port(Quiet.forProtocol(Sender)))
        await peer.ended()
        self.assertEqual(peer.received, content)


class Pages(Resource):
    """What it is sent it sends back: at once, or after a while."""

    isLeaf = True

    def render_POST(self, request: Any) -> Any:
        """Echo."""
        body = request.content.read()
        if request.path == b"/later":
            reactor.callLater(0.005, lambda: (request.write(body), request.finish()))
            return NOT_DONE_YET
        request.setHeader(b"content-length", b"%d" % len(body))
        return body

    def render_GET(self, request: Any) -> bytes:
        """Who asks, and whom."""
        client, host = request.getClientAddress(), request.getHost()
        return f"{client.host} {host.port}".encode()


@implementer(IAgentEndpointFactory)
class Ours:
    """Gives an Agent our client endpoint."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop

    def endpointForURI(self, uri: Any) -> StreamClientEndpoint:
        """Where a request goes."""
        return StreamClientEndpoint(self.loop, uri.host.decode(), uri.port)


class WebTests(LoopCase):
    async def test_site_and_agent(self) -> None:
        """twisted.web at both ends of our streams: small and large bodies, chunked answers, kept connections."""
        site = Site(Pages())
        site.noisy = False
        listener: Any = await StreamServerEndpoint(self.loop, "127.0.0.1", 0).listen(site)
        self._listeners.append(listener)
        port = listener.getHost().port
        pool = HTTPConnectionPool(reactor)
        agent = Agent.usingEndpointFactory(reactor, Ours(self.loop), pool)
        url = b"http://127.0.0.1:%d" % port

        answer = await agent.request(b"GET", url + b"/")
        self.assertEqual(await readBody(answer), b"127.0.0.1 %d" % port)
        for path in (b"/now", b"/later"):
            for size in (0, 10, 3_000_000):
                body = (b"%07d" % size) * (size // 7)
                answer = await agent.request(b"POST", url + path, None, FileBodyProducer(BytesIO(body)))
                self.assertEqual(answer.code, 200)
                self.assertEqual(hashlib.sha256(await readBody(answer)).digest(), hashlib.sha256(body).digest())
        self.assertEqual(listener.counters.accepted, 1)
        await pool.closeCachedConnections()

    async def test_agent_and_nobody(self) -> None:
        """A refused connection fails the request with Twisted's own error."""
        from twisted.internet.error import ConnectError
        agent = Agent.usingEndpointFactory(reactor, Ours(self.loop))
        request: Deferred[Any] = agent.request(b"GET", b"http://127.0.0.1:%d/" % self.closed_port())
        with self.assertRaises(ConnectError):
            await request


class OursOnTwistedsTests(LoopCase):
    """The other way about: what our protocols use of a transport, every Twisted transport has."""

    USED = ("write", "loseConnection", "abortConnection", "registerProducer", "unregisterProducer", "pauseProducing",
            "resumeProducing", "getPeer", "getHost", "loseWriteConnection")

    def test_the_seam(self) -> None:
        """`interfaces.StreamTransport` names nothing that Twisted's TCP transport, StringTransport or our Stream lack."""
        from twisted.internet.tcp import Server

        from voltgw.interfaces import StreamTransport
        from voltgw.net.stream import Stream
        declared = {name for name in vars(StreamTransport) if not name.startswith("_")}
        self.assertEqual(declared - set(self.USED), set())
        for kind in (Stream, Server):
            self.assertEqual([name for name in declared if not hasattr(kind, name)], [])
        self.assertLessEqual({name for name in declared if not hasattr(StringTransport, name)}, {"loseWriteConnection"})

    def exercise(self, transport: Any) -> None:
        """Use all of it, as our protocols do."""
        transport.pauseProducing()
        transport.resumeProducing()
        transport.registerProducer(Recorder(), True)
        transport.write(b"hello")
        transport.unregisterProducer()
        transport.getPeer()
        transport.getHost()
        transport.loseConnection()

    def test_on_a_string_transport(self) -> None:
        """A protocol for our streams runs on StringTransport, as unit tests do."""
        transport = StringTransport()
        protocol = Recorder()
        protocol.makeConnection(transport)
        self.exercise(protocol.transport)
        self.assertEqual((transport.value(), transport.disconnecting), (b"hello", True))

    async def test_on_a_stock_transport_and_on_ours(self) -> None:
        """The same protocol hears and says the same on Twisted's TCP transport and on our stream."""
        class Exercised(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                exercise(self.transport)

        exercise = self.exercise
        factory = Recorders(Exercised)
        stock: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")       # type: ignore[arg-type]
        self._ports.append(stock)
        for port in (self.port_of(self.listen(factory)), stock.getHost().port):
            peer = await self.client(port)
            peer.send(b"question")
            await peer.ended()
            self.assertEqual(peer.received, b"hello")
            await self.until(lambda: factory.built[-1].reason)
            self.assertEqual((factory.built[-1].events, factory.built[-1].data), (["made", "data", "lost"], b"question"))
