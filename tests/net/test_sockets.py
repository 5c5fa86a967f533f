"""`voltgw.net.sockets`: listening and connecting sockets, and errors that say what to do."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from tests.support import interpreted_only
from voltgw.net import sockets
from voltgw.net.sockets import (
    CannotListen,
    address_of,
    adopt,
    connecting_socket,
    listening_socket,
    plain_address,
    where,
)

_Sock = TypeVar("_Sock", bound=socket.SocketType)


class SocketCase(SynchronousTestCase):
    def kept(self, sock: _Sock) -> _Sock:
        """Close it when the test ends."""
        self.addCleanup(sock.close)
        return sock

    def refused(self, make: Callable[[], object]) -> CannotListen:
        """The error that `make` raises; no descriptor is left."""
        before = os.listdir("/proc/self/fd")
        error: CannotListen = self.assertRaises(CannotListen, make)
        self.assertEqual(os.listdir("/proc/self/fd"), before)
        return error


class AddressTests(SynchronousTestCase):
    def test_written_as_one_writes_them(self) -> None:
        """IPv6 in brackets, ``*`` for all."""
        self.assertEqual(
            [where("10.0.0.1", 80), where("::1", 443), where(None, 8080)], ["10.0.0.1:80", "[::1]:443", "*:8080"])

    def test_mapped_addresses(self) -> None:
        """IPv4 seen through a dual-stack socket is plain IPv4 everywhere: in logs, access rules and records."""
        self.assertEqual(plain_address(("::ffff:10.0.0.1", 80, 0, 0)), ("10.0.0.1", 80))
        self.assertEqual(plain_address(("::1", 80, 0, 0)), ("::1", 80))
        self.assertEqual(address_of(("::ffff:10.0.0.1", 80, 0, 0)), IPv4Address("TCP", "10.0.0.1", 80))
        self.assertEqual(address_of(("::1", 80, 0, 0)), IPv6Address("TCP", "::1", 80))


class ListeningTests(SocketCase):
    def test_options(self) -> None:
        """Non-blocking, not inherited by other programs, with TCP_NODELAY and keep-alive, which streams inherit."""
        sock = self.kept(listening_socket("127.0.0.1", 0))
        self.assertEqual((sock.getblocking(), os.get_inheritable(sock.fileno())), (False, False))
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        client = self.kept(socket.create_connection(sock.getsockname()))
        accepted = self.kept(sock.accept()[0])
        self.assertTrue(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertTrue(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(accepted.getpeername(), client.getsockname())

    def test_ipv6(self) -> None:
        """``::1`` and ``::`` are IPv6 alone: another socket may have the same port for IPv4."""
        for address in ("::1", "::"):
            sock = self.kept(listening_socket(address, 0))
            self.assertEqual(sock.getsockname()[0], address)
            self.assertTrue(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))

    def test_everything(self) -> None:
        """None listens on all addresses of both families with one socket."""
        sock = self.kept(listening_socket(None, 0))
        port = sock.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            self.kept(socket.create_connection((address, port)))
            self.kept(sock.accept()[0])

    @interpreted_only
    def test_everything_without_ipv6(self) -> None:
        """Where the host has no IPv6, None listens on IPv4 alone."""
        real = sockets._listen

        def no_ipv6(family: socket.AddressFamily, *rest: object) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return real(family, *rest)      # type: ignore[arg-type]

        self.patch(sockets, "_listen", no_ipv6)
        self.assertEqual(self.kept(listening_socket(None, 0)).getsockname()[0], "0.0.0.0")
        self.assertIn("this host has no IPv6", str(self.refused(lambda: listening_socket("::1", 0))))

    def test_an_address_with_a_zone(self) -> None:
        """A link-local address needs its interface, by name or number."""
        family, sockaddr = sockets.sockaddr_of("fe80::1%lo", 80)
        self.assertEqual((family, sockaddr), (socket.AF_INET6, ("fe80::1", 80, 0, socket.if_nametoindex("lo"))))
        self.assertEqual(sockets.sockaddr_of("fe80::1%7", 80)[1], ("fe80::1", 80, 0, 7))

    def test_an_address_that_is_not_here_yet(self) -> None:
        """`freebind` takes it, of either family."""
        for address in ("192.0.2.1", "2001:db8::1"):
            self.kept(listening_socket(address, 0, freebind=True))

    def test_several_on_one_port(self) -> None:
        """`reuse_port` sockets share an address; one without it is refused."""
        first = self.kept(listening_socket("127.0.0.1", 0, reuse_port=True))
        port = first.getsockname()[1]
        self.kept(listening_socket("127.0.0.1", port, reuse_port=True))
        self.refused(lambda: listening_socket("127.0.0.1", port))

    def test_a_port_of_a_connection_that_has_just_ended(self) -> None:
        """A restart may take the port at once although old connections are in TIME_WAIT."""
        sock = listening_socket("127.0.0.1", 0)
        address = sock.getsockname()
        with socket.create_connection(address):
            sock.accept()[0].close()
        sock.close()
        self.kept(listening_socket(*address))


class RefusalTests(SocketCase):
    def test_in_use(self) -> None:
        """Says where, why, and how to find out whose it is."""
        port = self.kept(listening_socket("127.0.0.1", 0)).getsockname()[1]
        error = self.refused(lambda: listening_socket("127.0.0.1", port))
        self.assertEqual(error.errno, errno.EADDRINUSE)
        self.assertEqual(
            str(error), f"cannot listen on 127.0.0.1:{port}: address already in use; another socket listens there already: "
            f"`ss -ltnp sport = :{port}` shows which program's")

    def test_in_use_on_all(self) -> None:
        """The same for a dual-stack socket."""
        port = self.kept(listening_socket("::1", 0)).getsockname()[1]
        error = self.refused(lambda: listening_socket(None, port))
        self.assertIn(f"cannot listen on *:{port}: address already in use", str(error))

    def test_not_ours(self) -> None:
        """An address of no interface: says how to see which there are."""
        error = self.refused(lambda: listening_socket("192.0.2.1", 80))
        self.assertEqual(error.errno, errno.EADDRNOTAVAIL)
        self.assertIn("cannot listen on 192.0.2.1:80: cannot assign requested address; no interface of this host", str(error))

    def test_not_allowed(self) -> None:
        """A low port without the right: names the right. An ordinary user asks, in a process of its own."""
        code = (
            "import encodings.ascii, os\n"     # what is imported later may be out of reach by then
            "from voltgw.net.sockets import CannotListen, listening_socket\n"
            "if os.geteuid() == 0:\n"
            "    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "try:\n"
            "    listening_socket('127.0.0.1', 80)\n"
            "except CannotListen as error:\n"
            "    print(error)\n"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        self.assertIn("cannot listen on 127.0.0.1:80: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE", said)

    @interpreted_only
    def test_not_allowed_for_another_reason(self) -> None:
        """Above the low ports a refusal is a security module's, and the right would not help."""
        self.assertEqual(sockets._hint(errno.EACCES, "127.0.0.1", 8080), "")
        self.patch(sockets, "_UNPRIVILEGED", "/nowhere")
        self.assertIn("below 1024", sockets._hint(errno.EACCES, "127.0.0.1", 80))

    def test_no_descriptor_left(self) -> None:
        """Says which limit to raise."""
        self.assertIn("LimitNOFILE", str(CannotListen(errno.EMFILE, "x", sockets._hint(errno.EMFILE, None, 80))))

    def test_not_an_address(self) -> None:
        """A name, a short form or nonsense is refused without asking the resolver, which would block."""
        self.patch(socket, "getaddrinfo", self.fail)
        for text in ("localhost", "example.com", "127.1", "", "1.2.3.4.5", "::g", "a\0b", "[::1]"):
            error = self.refused(lambda text=text: listening_socket(text, 80))      # type: ignore[misc]
            self.assertIn(f"{text!r} is no IP address", str(error))
        self.assertIn("70000 is no port", str(self.refused(lambda: listening_socket("127.0.0.1", 70000))))


class AdoptTests(SocketCase):
    def test_a_listening_socket(self) -> None:
        """It listens on, and becomes ours: non-blocking, not inherited, with the options that streams inherit."""
        made = socket.create_server(("127.0.0.1", 0))
        address = made.getsockname()
        made.set_inheritable(True)
        sock = self.kept(adopt(made.detach()))
        self.assertEqual((sock.getsockname(), sock.getblocking(), sock.get_inheritable()), (address, False, False))
        self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_anything_else(self) -> None:
        """Refused, and left as it is: a socket that does not listen, one of another kind, a file, a closed descriptor."""
        pair = socket.socketpair()
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(f"\0voltgw-test-{os.getpid()}")
        unix.listen()
        for sock in (socket.socket(), socket.socket(type=socket.SOCK_DGRAM), *pair, unix):
            self.kept(sock)
            error = self.refused(lambda sock=sock: adopt(sock.fileno()))            # type: ignore[misc]
            self.assertIn("it is no listening TCP socket", str(error))
            self.assertTrue(sock.getblocking())
        with open("/dev/null", "rb") as file:
            self.assertIn("it is no socket", str(self.refused(lambda: adopt(file.fileno()))))
        self.assertEqual(self.refused(lambda: adopt(999_999)).errno, errno.EBADF)


class ConnectingTests(SocketCase):
    def test_under_way(self) -> None:
        """Non-blocking, with TCP_NODELAY and keep-alive; EINPROGRESS comes beside it."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            sock, status = connecting_socket("127.0.0.1", server.getsockname()[1])
            self.kept(sock)
            self.assertIn(status, (0, errno.EINPROGRESS))
            self.assertEqual((sock.getblocking(), os.get_inheritable(sock.fileno())), (False, False))
            self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def test_from_a_source(self) -> None:
        """The peer sees the address; its port is chosen at connect, so that it need only differ per target."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            sock, _ = connecting_socket("127.0.0.1", server.getsockname()[1], ("127.0.0.9", 0))
            self.kept(sock)
            accepted, peer = server.accept()
            self.kept(accepted)
            self.assertEqual(peer[0], "127.0.0.9")

    def test_from_a_source_that_is_not_ours(self) -> None:
        """OSError, and no descriptor is left."""
        before = os.listdir("/proc/self/fd")
        self.assertRaises(OSError, connecting_socket, "127.0.0.1", 9, ("192.0.2.1", 0))
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_a_name(self) -> None:
        """ValueError: a name is never looked up."""
        self.assertRaises(ValueError, connecting_socket, "localhost", 80)
