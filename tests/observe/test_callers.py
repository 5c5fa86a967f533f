"""Who may do what at the admin interface, over real sockets."""

from __future__ import annotations

import json
import os
import pwd
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import authority, client, server
from tests.observe.test_admin import BROWSER, AdminCase, At, Config
from voltgw.observe.admin import AdminAddressError, AdminTls
from voltgw.observe.callers import MOST_ADDRESSES, MOST_WRONG, NOTHING, OPERATE, READ, WINDOW_S, Callers

LOOKER, DEPLOYER = b"a token to look around", b"a token to change things"
TOKENS = (("grafana", LOOKER.replace(b" ", b"-"), READ), ("deploy", DEPLOYER.replace(b" ", b"-"), OPERATE))
READ_TOKEN, OPERATE_TOKEN = (f"Bearer {token.decode()}" for _, token, _ in TOKENS)


class GuessingTests(SynchronousTestCase):
    """Tokens cannot be tried out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.callers = Callers(self.clock.seconds, TOKENS)

    def test_an_address_that_is_wrong_too_often(self) -> None:
        """It is not listened to for a minute, even with the right one; others are."""
        said: list[LogEvent] = []
        keep: Any = said.append
        self.patch(Callers, "_log", Logger(observer=keep))
        for _ in range(MOST_WRONG):
            self.assertEqual(said, [])
            self.assertIsNone(self.callers.of_token(b"Bearer guess", "192.0.2.1"))
        self.assertEqual([(each["event"], each["source"], each["count"]) for each in said], [("admin.shut_out", "192.0.2.1", 10)])
        right = OPERATE_TOKEN.encode()
        self.assertTrue(self.callers.is_shut_out("192.0.2.1"))
        self.assertIsNone(self.callers.of_token(right, "192.0.2.1"))
        self.assertIsNotNone(self.callers.of_token(right, "192.0.2.2"))
        self.clock.advance(WINDOW_S)
        found = self.callers.of_token(right, "192.0.2.1")
        self.assertEqual(found, ("token deploy", OPERATE))
        self.assertEqual(self.callers.refused, {"credentials": MOST_WRONG, "role": 0, "too_many": 1})

    def test_addresses_are_bounded(self) -> None:
        """However many try, so many are remembered."""
        for number in range(MOST_ADDRESSES + 10):
            self.callers.of_token(b"Bearer guess", f"192.0.2.{number}")
        self.assertEqual(len(self.callers._wrong), MOST_ADDRESSES)

    def test_what_a_browser_asks_its_user_for(self) -> None:
        """The token is the password, whatever the name; what is no such pair is wrong."""
        token = TOKENS[1][1]
        for said, right in ((b"me:" + token, True), (b":" + token, True), (token, False), (b"me:" + token + b"x", False)):
            self.assertEqual(self.callers.of_token(b"Basic " + b64encode(said), "a") is not None, right, said)
        self.assertIsNone(self.callers.of_token(b"Basic !", "a"))

    def test_other_schemes(self) -> None:
        """A token is shown as one, in any case of the word."""
        token = TOKENS[1][1]
        self.assertIsNone(self.callers.of_token(b"Basic " + token, "a"))
        self.assertIsNone(self.callers.of_token(token, "a"))
        self.assertIsNotNone(self.callers.of_token(b"bearer  " + token, "a"))


class TokenTests(AdminCase):
    """Over TCP."""

    async def test_roles(self) -> None:
        """Nobody only asks, a reader only asks, an operator changes; it is told who has changed what."""
        (address,) = self.serve(Config(At(tokens=TOKENS))).addresses
        self.assertEqual((await self.ask(address, "/clusters")).status, 200)
        refused = await self.ask(address, "/reload", "POST")
        self.assertEqual((refused.status, refused.headers["www-authenticate"]), (401, 'Bearer realm="voltgw"'))
        refused = await self.ask(address, "/reload", "POST", Authorization=READ_TOKEN)
        self.assertEqual((refused.status, refused.json["error"]), (403, "token grafana may only ask"))
        self.assertEqual((await self.ask(address, "/clusters", Authorization=READ_TOKEN)).status, 200)
        done = await self.ask(address, "/reload", "POST", Authorization=OPERATE_TOKEN)
        self.assertEqual(done.status, 200)
        self.assertEqual((await self.ask(address, "/drain", "POST", Authorization=OPERATE_TOKEN)).status, 202)

    async def test_wrong_ones(self) -> None:
        """401, also for questions: whoever shows something means it; after ten 429."""
        service = self.serve(Config(At(tokens=TOKENS)))
        (address,) = service.addresses
        for _ in range(MOST_WRONG):
            self.assertEqual((await self.ask(address, "/clusters", Authorization="Bearer guess")).status
                             in (401, 429), True)
        late = await self.ask(address, "/reload", "POST", Authorization=OPERATE_TOKEN)
        self.assertEqual((late.status, late.headers["retry-after"]), (429, "60"))
        self.assertEqual((await self.ask(address, "/clusters")).status, 200, "questions without a token go on")

    async def test_nothing_for_nobody(self) -> None:
        """`anonymous: nothing`: whoever asks says who it is."""
        (address,) = self.serve(Config(At(tokens=TOKENS, anonymous=NOTHING))).addresses
        self.assertEqual((await self.ask(address, "/metrics")).status, 401)
        self.assertEqual((await self.ask(address, "/metrics", Authorization=READ_TOKEN)).status, 200)

    async def test_buttons(self) -> None:
        """A browser is asked for a token, and led back to the page whose button was pressed; what was wrong is shown."""
        (address,) = self.serve(Config(At(tokens=TOKENS))).addresses
        html: dict[str, Any] = {"Accept": BROWSER}
        asked = await self.ask(address, "/login", **html)
        self.assertEqual((asked.status, asked.headers["www-authenticate"]), (401, 'Basic realm="voltgw", charset="UTF-8"'))
        shown: dict[str, Any] = {**html, "Authorization": "Basic " + b64encode(b"me:" + TOKENS[1][1]).decode()}
        welcome = await self.ask(address, "/login", **shown)
        self.assertEqual((welcome.status, welcome.headers["location"]), (303, "/"))
        self.assertIn(b'action="/rollback?number=12"', (await self.ask(address, "/generations", **shown)).body)
        self.assertNotIn(b"/rollback", (await self.ask(address, "/generations", **html)).body)
        for page, back in ((f"http://{address}/rollouts?x=1", "/rollouts?x=1"), (f"http://{address}//evil.example", "/"),
                           (f"http://{address}/\\evil.example", "/"), (None, "/")):
            from_it = {**shown, "Referer": page} if page else shown
            done = await self.ask(address, "/rollouts/pause?name=shop", "POST", host=address, **from_it)
            self.assertEqual((done.status, done.headers["location"]), (303, back))
        wrong = await self.ask(address, "/rollouts/pause?name=nobody", "POST", **shown)
        self.assertEqual(wrong.status, 422)
        self.assertIn(b"there is no rollout &#x27;nobody&#x27;", wrong.body)
        refused = await self.ask(address, "/rollouts/pause?name=shop", "POST", **shown, Referer="http://evil.example/")
        self.assertEqual(refused.status, 403)
        self.assertEqual((await self.ask(self.serve().addresses[0], "/login", **html)).status, 403, "there is no token to ask for")

    async def test_a_page_of_another_site(self) -> None:
        """Right credentials do not help a page that is not ours, nor one behind another name."""
        (address,) = self.serve(Config(At(tokens=TOKENS))).addresses
        for refused in (
            await self.ask(address, "/reload", "POST", Origin="http://evil.example", Authorization=OPERATE_TOKEN),
            await self.ask(address, "/reload", "POST", Sec_Fetch_Site="cross-site", Authorization=OPERATE_TOKEN),
            await self.ask(address, "/reload", "POST", host="evil.example", Authorization=OPERATE_TOKEN),
        ):
            self.assertEqual(refused.status, 403)

    def test_an_address_for_others(self) -> None:
        """Without TLS, or without anybody who may ask, there is none."""
        tls = AdminTls(server("gw.example").certificate, server("gw.example").key, None)
        for at in (At("0.0.0.0", tokens=TOKENS), At("0.0.0.0", tls=tls)):
            self.assertRaises(AdminAddressError, self.serve, Config(at))


class TlsTests(AdminCase):
    """Certificates of clients."""

    def get(self, address: str, path: str, method: str = "GET", shown: Any = None, **fields: str) -> int:
        """The status of one request."""
        context = ssl.create_default_context(cadata=authority("lab").certificate.decode())
        if shown is not None:
            file = self.mktemp()
            with open(file, "wb") as pem:
                pem.write(shown.certificate + shown.key)
            context.load_cert_chain(file)
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as raw, \
                context.wrap_socket(raw, server_hostname="gw.example") as tls:
            lines = [f"{method} {path} HTTP/1.1", "Host: gw.example", "Connection: close",
                     *(f"{name}: {value}" for name, value in fields.items())]
            tls.sendall("\r\n".join([*lines, "", ""]).encode())
            return int(tls.recv(4096).split()[1])

    async def test_names(self) -> None:
        """Who has a name that may, may; who has another one, or none, is nobody; a stranger's certificate is refused."""
        issued = server("gw.example")
        tls = AdminTls(issued.certificate, issued.key, authority("lab").certificate)
        at = At(tls=tls, names=("gw.example",), tokens=TOKENS, anonymous=NOTHING,
                clients=(("deploy.example", OPERATE), ("watcher", READ)))
        (address,) = self.serve(Config(at)).addresses
        cases = [
            (client("somebody", "deploy.example"), "POST", "/drain", 202), (client("watcher"), "POST", "/drain", 403),
            (client("watcher"), "GET", "/clusters", 200), (client("other"), "GET", "/clusters", 401), (None, "GET", "/clusters", 401)]
        for shown, method, path, status in cases:
            self.assertEqual(await deferToThread(self.get, address, path, method, shown), status, (shown, path))
        self.assertEqual(await deferToThread(self.get, address, "/drain", "POST", None, Authorization=OPERATE_TOKEN), 202)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            await deferToThread(self.get, address, "/clusters", "GET", client("watcher", ca="foreign"))

    async def test_plain_text_to_a_tls_port(self) -> None:
        """It is no answer's worth."""
        issued = server("gw.example")
        (address,) = self.serve(Config(At(tls=AdminTls(issued.certificate, issued.key, None)))).addresses
        self.assertNotIn(b"200", await self.send(address, b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"))


class UserTests(AdminCase):
    """Users of this host."""

    async def test_another_user(self) -> None:
        """It may do what its role says; one that is not named may nothing."""
        if os.geteuid() != 0:
            raise SkipTest("only root can be somebody else")
        nobody = pwd.getpwnam("nobody").pw_uid
        path = self.socket_path()
        os.chmod(os.path.dirname(path), 0o755)      # others have to reach the socket
        self.serve(Config(At(unix=path, users=((nobody, READ),))))
        program = ("import os, socket, sys\nos.setgroups([]); os.setuid(int(sys.argv[4]))\n"
                   "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
                   "s.sendall(f'{sys.argv[2]} {sys.argv[3]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'.encode())\n"
                   "print(s.recv(4096).split()[1].decode())")

        def ask(user: int, method: str, address: str) -> int:
            done = subprocess.run([sys.executable, "-c", program, path, method, address, str(user)], timeout=20, check=True,
                                  capture_output=True, text=True)
            return int(done.stdout)

        self.assertEqual(await deferToThread(ask, nobody, "GET", "/clusters"), 200)
        self.assertEqual(await deferToThread(ask, nobody, "POST", "/reload"), 403)
        self.assertEqual(await deferToThread(ask, 0, "POST", "/reload"), 200)
        self.assertEqual(await deferToThread(ask, nobody + 1, "GET", "/clusters"), 403)

    async def test_the_mode_of_the_socket(self) -> None:
        """Only where users are named may others open it."""
        path = self.socket_path()
        self.serve(Config(At(unix=path)))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)


class ProgramTests(AdminCase):
    """The command."""

    async def test_a_token_file(self) -> None:
        """``voltgw reload --token-file``; without it, it says what is missing."""
        from tests.cli.running import run

        self.view.reloaded = succeed({"ok": True, "generation": 7, "changes": []})
        (address,) = self.serve(Config(At(tokens=TOKENS))).addresses
        file = self.mktemp()
        with open(file, "wb") as out:
            out.write(TOKENS[1][1] + b"\n")
        done = await deferToThread(run, ["reload", "--admin", address, "--token-file", file, "--json"])
        self.assertEqual((done.status, json.loads(done.out)["generation"]), (0, 7), done.err)
        done = await deferToThread(run, ["reload", "--admin", address])
        self.assertEqual(done.status, 1)
        self.assertIn("say who you are: with a token", done.err)
