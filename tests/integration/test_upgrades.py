"""WebSocket with real parts: a gateway as an operator runs it between a WebSocket client and a WebSocket server."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.servers import missing, nginx

try:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect
    from websockets.sync.server import Server, ServerConnection, serve
except ImportError:
    connect = None  # type: ignore[assignment]

CONFIG = """\
gateway: {{admin: {{port: ADMIN}}, access_log: access.log}}
objects:
- {{kind: advertise_policy, metadata: {{name: here}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {port}}}}}
- {{kind: endpoint, metadata: {{name: echo}}, spec: {{ip: 127.0.0.1, port: {origin}}}}}
- {{kind: cluster, metadata: {{name: echo}}, spec: {{endpoints: [echo]}}}}
- kind: route
  metadata: {{name: chat}}
  spec:
    routes:
    - match: [{{path: {{prefix: /chat}}}}]
      route_destination: {{destinations: [{{cluster: echo}}], web_socket_config: {{use_websocket: true}}, timeout: 2000}}
    - route_destination: {{destinations: [{{cluster: echo}}]}}
- kind: virtual_host
  metadata: {{name: chat}}
  spec: {{domains: ["*"], routes: [chat], advertise_policies: [here]}}
"""


def echo(connection: ServerConnection) -> None:
    """Say everything back, until it is told to leave."""
    try:
        for message in connection:
            if isinstance(message, str) and message == "leave":
                connection.close(4321, "as you wish")
                return
            connection.send(message)
    except ConnectionClosed:
        pass                                # how most of them end


class WebSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        """An echo server, and the gateway before it."""
        if connect is None:
            raise missing("websockets is not installed")
        self.requests: list[Any] = []
        self.server: Server = serve(self.handle, "127.0.0.1", 0, max_size=8 << 20)
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.start(self.server.socket.getsockname()[1])

    def start(self, origin: int) -> None:
        """The gateway, before the origin on this port."""
        self.port = free_port()
        self.gateway = Gateway(self, CONFIG.format(port=self.port, origin=origin))
        self.gateway.wait_ready()

    def handle(self, connection: ServerConnection) -> None:
        """What the server was asked, then echo."""
        self.requests.append(connection.request)
        echo(connection)

    def open(self, path: str = "/chat", **options: Any) -> Any:
        """A client, connected through the gateway."""
        client = connect(f"ws://127.0.0.1:{self.port}{path}", open_timeout=10, close_timeout=10, **options)
        self.addCleanup(client.close)
        return client

    def test_messages_of_every_kind(self) -> None:
        """Text, binary, empty, large and fragmented messages, compressed or not, come back; pings are answered."""
        for compression in (None, "deflate"):
            client = self.open(compression=compression, max_size=8 << 20)
            for message in ("hello", "h\xe9llo", b"\x00\xff" * 10, "", b"", os.urandom(3 << 20), "x" * 100_000):
                client.send(message)
                self.assertEqual(client.recv(10), message)
            client.send(iter(["frag", "men", "ted"]))
            self.assertEqual(client.recv(10), "fragmented")
            self.assertTrue(client.ping().wait(10))
            client.close()
            self.assertEqual((client.close_code, bool(client.protocol.extensions)), (1000, compression is not None))

    def test_what_the_server_is_asked(self) -> None:
        """Its path, Host and Origin as the client sent them, and who the client is."""
        client = self.open("/chat?room=1", origin="https://shop.example", additional_headers={"X-Forwarded-For": "192.0.2.1"})
        client.close()
        request, = until("the server has told of it", lambda: list(self.requests))
        self.assertEqual((request.path, request.headers["Host"], request.headers["Origin"]),
                         ("/chat?room=1", f"127.0.0.1:{self.port}", "https://shop.example"))
        self.assertEqual(request.headers["X-Forwarded-For"], "192.0.2.1, 127.0.0.1")

    def test_the_server_closes(self) -> None:
        """Its code and reason arrive; the access log has one line with 101 and all bytes."""
        client = self.open()
        client.send(os.urandom(10_000))
        client.recv(10)
        client.send("leave")
        with self.assertRaises(ConnectionClosed) as caught:
            client.recv(10)
        assert caught.exception.rcvd is not None
        self.assertEqual((caught.exception.rcvd.code, caught.exception.rcvd.reason), (4321, "as you wish"))
        log = self.gateway.folder / "access.log"
        line, = until("the line is written", lambda: [each for each in log.read_text().splitlines() if "/chat" in each])
        self.assertIn('"rsp_code":"101"', line)
        self.assertGreater(int(line.partition('"req_size":"')[2].partition('"')[0]), 10_000)

    def test_a_route_that_does_not_allow_it(self) -> None:
        """The server is asked like for any page, and says that it wants an upgrade; no tunnel stands."""
        with self.assertRaises(InvalidStatus) as caught:
            self.open("/plain")
        self.assertEqual(caught.exception.response.status_code, 426)

    def test_many_at_once(self) -> None:
        """Forty clients; each gets its own messages. When all have left nothing is under way."""
        clients = [self.open() for _ in range(40)]
        for number, client in enumerate(clients):
            client.send(f"message {number}")
        for number, client in enumerate(clients):
            self.assertEqual(client.recv(10), f"message {number}")
        self.assertEqual(self.gateway.cluster("default/echo")["active"], 40)
        for client in clients:
            client.close()
        until("all are gone", lambda: self.gateway.cluster("default/echo")["active"] == 0)

    def test_a_reload_leaves_them(self) -> None:
        """A reload that changes the route's host closes no tunnel of its."""
        client = self.open()
        config = self.gateway.file.read_text(encoding="utf-8")
        self.gateway.write(config.replace('domains: ["*"]', 'domains: ["*", chat.example]'))
        self.gateway.reload()
        self.assertEqual(self.gateway.admin("/").json["generation"], 2)
        client.send("still there")
        self.assertEqual(client.recv(10), "still there")

    def test_behind_nginx(self) -> None:
        """Another proxy between the gateway and the server makes no difference."""
        origin = self.server.socket.getsockname()[1]
        proxy = nginx(self, f"location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; "
                            "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }")
        self.gateway.stop()
        self.start(proxy.port)
        client = self.open()
        for size in (10, 1 << 20):
            client.send(b"x" * size)
            self.assertEqual(len(client.recv(10)), size)

    def test_a_client_that_disappears(self) -> None:
        """Its reset ends the server's side, too."""
        client = self.open()
        client.send("hello")
        client.recv(10)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.socket.close()
        until("the tunnel is gone", lambda: self.gateway.cluster("default/echo")["active"] == 0)
        self.assertEqual(ask(self.port, "/plain").status, 426)
