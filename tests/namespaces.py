"""Networks for tests: Linux network namespaces, joined by virtual Ethernet cables, that are gone when the test is over.

A test that needs them is a `NamespaceCase` and calls `Lab(self)` in its `setUp`. Without root, each such test runs in a user
namespace, in a process of its own. Where the kernel allows neither, the test is skipped and says so: that is a right of the
machine, not a missing package.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.servers import PATH, require
from voltgw.net.namespaces import inside

#: Nothing that a test waits for takes longer than this (seconds), unless something is wrong.
PATIENCE_S: Final = 20.0


#: How the reason of a skip begins that even CI may have.
NOT_ALLOWED: Final = "the kernel makes no network namespaces for us"
_ROOT: Final = Path(__file__).resolve().parents[1]
_OF_OUR_OWN: Final = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"'


@cache
def refusal() -> str:
    """Why we cannot make namespaces ourselves, "" if we can."""
    ip = require("ip")
    name = f"vg{secrets.token_hex(3)}-try"
    tried = subprocess.run([ip, "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return tried.stderr.strip()
    subprocess.run([ip, "netns", "del", name], capture_output=True, check=False)
    return ""


@cache
def user_namespace_refusal() -> str:
    """Why we cannot make them in a user namespace either, "" if we can."""
    tried = _in_user_namespace(require("ip"), "netns", "add", "try")
    return tried.stderr.strip() if tried.returncode else ""


def _in_user_namespace(*command: str, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program as root of a user, a network and a mount namespace of its own."""
    return subprocess.run(["unshare", "-Urnm", "sh", "-c", _OF_OUR_OWN, "sh", *command], capture_output=True, text=True,
                          check=False, timeout=timeout_s, env={**os.environ, "PATH": PATH}, cwd=_ROOT)


class NamespaceCase(SynchronousTestCase):
    """A test that makes namespaces."""

    def run(self, result: Any = None) -> Any:
        """Run here, or in a user namespace where that is the only way."""
        if refusal() and not user_namespace_refusal():
            self.setUp = lambda: None       # type: ignore[method-assign]
            setattr(self, self._testMethodName, self._elsewhere)
        return super().run(result)

    def _elsewhere(self) -> None:
        folder = str(Path(self.mktemp()).absolute())
        done = _in_user_namespace(
            sys.executable, "-b", "-m", "twisted.trial", "--temp-directory", folder, self.id(), timeout_s=5 * PATIENCE_S)
        if done.returncode:
            self.fail(f"in a user namespace:\n{done.stdout}{done.stderr}")
        if "skips=1" in done.stdout:
            raise SkipTest(f"in a user namespace:\n{done.stdout}")


class Lab:
    """Namespaces and cables of one test; names are its own, so that tests may run side by side."""

    def __init__(self, test: SynchronousTestCase) -> None:
        if refusal():
            raise SkipTest(f"{NOT_ALLOWED}: {refusal()}; nor in a user namespace: {user_namespace_refusal()}")
        self._ip = require("ip")
        self._tag = f"vg{secrets.token_hex(3)}"
        self._cables = 0
        self._made: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._servers: list[Server] = []
        test.addCleanup(self.remove)

    def name(self, role: str) -> str:
        """What the namespace for a role is called."""
        return f"{self._tag}-{role}"

    def namespace(self, role: str) -> str:
        """Make one, with its loopback up and IP forwarding off; its name."""
        name = self.name(role)
        self.ip("netns", "add", name)
        self._made.append(name)
        self.ip("-n", name, "link", "set", "lo", "up")
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/accept_dad"):
            self.run(name, "sh", "-c", f"echo 0 >/proc/sys/net/{setting}")
        return name

    def cable(self, one: str, one_end: str, other: str, other_end: str) -> None:
        """Join two namespaces by a cable whose ends are interfaces of these names, up and without an address."""
        self._cables += 1
        left, right = f"{self._tag}a{self._cables}", f"{self._tag}b{self._cables}"
        self.ip("link", "add", left, "type", "veth", "peer", "name", right)
        for temporary, namespace, name in ((left, one, one_end), (right, other, other_end)):
            self.ip("link", "set", temporary, "netns", namespace)
            self.ip("-n", namespace, "link", "set", temporary, "name", name)
            self.ip("-n", namespace, "link", "set", name, "up")

    def wire(self, *namespaces: str) -> None:
        """Join namespaces by one wire: each has an interface ``eth0`` on it, up and without an address."""
        middle = self.namespace("wire")
        self.ip("-n", middle, "link", "add", "br0", "type", "bridge")
        self.ip("-n", middle, "link", "set", "br0", "up")
        for number, namespace in enumerate(namespaces):
            self.cable(middle, f"port{number}", namespace, "eth0")
            self.ip("-n", middle, "link", "set", f"port{number}", "master", "br0")

    def addresses(self, namespace: str, interface: str) -> dict[str, dict[str, Any]]:
        """What ip(8) says of each address of an interface."""
        found = json.loads(self.ip("-n", namespace, "-j", "address", "show", "dev", interface))
        return {one["local"]: one for one in found[0]["addr_info"]}

    def address(self, namespace: str, interface: str, *addresses: str) -> None:
        """Give an interface addresses with their prefix lengths."""
        for address in addresses:
            self.ip("-n", namespace, "address", "add", address, "dev", interface, *(("nodad",) if ":" in address else ()))

    def ip(self, *arguments: str) -> str:
        """Run ip(8); its output."""
        return subprocess.run([self._ip, *arguments], capture_output=True, text=True, check=True).stdout

    def run(
        self, namespace: str, *command: str, timeout_s: float = PATIENCE_S, given: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a namespace to its end; it may fail."""
        return subprocess.run([self._ip, "netns", "exec", namespace, *command], capture_output=True, text=True, check=False,
                              timeout=timeout_s, input=given)

    def start(self, namespace: str, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program in a namespace; it is ended with the lab."""
        process = subprocess.Popen([self._ip, "netns", "exec", namespace, *command], start_new_session=True, **options)
        self._processes.append(process)
        return process

    def serve(
        self, namespace: str, address: str, port: int, serve: Callable[[socket.socket, Any], None],
        kind: int = socket.SOCK_STREAM,
    ) -> Server:
        """A server in a namespace: `serve(socket, peer)` has each connection, or (UDP) the socket itself, in a thread."""
        server = Server(namespace, address, port, serve, kind)
        self._servers.append(server)
        return server

    def delete(self, namespace: str) -> None:
        """Remove a namespace before the test is over."""
        self._made.remove(namespace)
        self.ip("netns", "del", namespace)

    def remove(self) -> None:
        """Leave nothing behind; as much as possible also when part of it fails."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for server in self._servers:
            server.stop()
        for namespace in self._made:
            subprocess.run([self._ip, "netns", "del", namespace], capture_output=True, check=False)
        self._made.clear()


class Server:
    """A listening (or UDP) socket in a namespace and the threads that serve it."""

    def __init__(
        self, namespace: str, address: str, port: int, serve: Callable[[socket.socket, Any], None], kind: int,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(namespace):
            self._sock = socket.socket(family, kind)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind((address, port))
        self.peers: list[str] = []
        self._serve = serve
        self._open: list[socket.socket] = []
        if kind == socket.SOCK_STREAM:
            self._sock.listen(64)
        self._threads = [threading.Thread(target=self._accept if kind == socket.SOCK_STREAM else self._talk)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, peer = self._sock.accept()
            except OSError:
                return                      # `stop` shut it
            self.peers.append(peer[0])
            self._open.append(sock)
            thread = threading.Thread(target=self._one, args=(sock, peer))
            self._threads.append(thread)
            thread.start()

    def _one(self, sock: socket.socket, peer: Any) -> None:
        try:
            self._serve(sock, peer)
        except OSError:
            pass                            # the other side, or `stop`, has ended it
        finally:
            sock.close()

    def _talk(self) -> None:
        try:
            self._serve(self._sock, None)
        except OSError:
            pass                            # `stop` closed it

    def stop(self) -> None:
        """End all threads."""
        for sock in (self._sock, *self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass                        # it is closed already, or not connected
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._sock.close()


def http_server(name: str) -> Callable[[socket.socket, Any], None]:
    """Serves HTTP/1.1: each answer says the server's name and the address that it was asked from."""
    def serve(sock: socket.socket, peer: Any) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                data = sock.recv(65536)
                if not data:
                    return
                received += data
            received = received.partition(b"\r\n\r\n")[2]
            body = f"{name} asked by {peer[0]}\n".encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return serve


def dns_server(zone: dict[str, str], asked: list[str] | None = None) -> Callable[[socket.socket, Any], None]:
    """Serves DNS on a UDP socket: A records of `zone`, NXDOMAIN for every other name; `asked` gets the names."""
    def serve(sock: socket.socket, _: Any) -> None:
        while True:
            query, client = sock.recvfrom(4096)
            if not query:
                return
            at, labels = 12, []
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            name, kind = ".".join(labels).lower(), int.from_bytes(query[at + 1:at + 3], "big")
            question = query[12:at + 5]
            if asked is not None:
                asked.append(name)
            known = zone.get(name)
            answers = b""
            if known is not None and kind == 1:
                answers = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton(known)
            head = query[:2] + (b"\x85\x80" if known is not None else b"\x85\x83") + b"\0\x01" + (
                b"\0\x01" if answers else b"\0\0") + b"\0\0\0\0"
            sock.sendto(head + question + answers, client)

    return serve


def by_tcp(serve: Callable[[Any, Any], None]) -> Callable[[socket.socket, Any], None]:
    """A server of datagrams for one connection, on which each message has its length before it (RFC 1035 4.2.2)."""
    class Framed:
        def __init__(self, sock: socket.socket) -> None:
            self._stream = sock.makefile("rwb")

        def recvfrom(self, size: int) -> tuple[bytes, None]:
            length = self._stream.read(2)
            return self._stream.read(int.from_bytes(length, "big")), None

        def sendto(self, data: bytes, _: Any) -> None:
            self._stream.write(len(data).to_bytes(2, "big") + data)
            self._stream.flush()

    return lambda sock, peer: serve(Framed(sock), peer)


def until(what: str, true: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Look until `true()` is true and return what it gave; AssertionError, naming `what`, when that takes too long."""
    end = time.monotonic() + patience_s
    while True:
        result = true()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"after {patience_s:g} s still not: {what}")
        time.sleep(0.05)                    # another process decides when; there is nothing to wait on


def curl(*arguments: str) -> Sequence[str]:
    """A command line for curl that fails fast and says why."""
    return (require("curl"), "-sS", "--max-time", "5", "--connect-timeout", "3", *arguments)
