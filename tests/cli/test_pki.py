"""``voltgw pki``: files that other tools accept."""

from __future__ import annotations

import contextlib
import io
import ssl
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.servers import require
from voltgw.cli.pki import run


class PkiTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "pki"
        self.pki("init", str(self.folder))

    def pki(self, *arguments: str, status: int = 0) -> str:
        """Run it; what it says."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.assertEqual(run(list(arguments)), status, said.getvalue())
        return said.getvalue()

    def verify(self, name: str, *options: str) -> str:
        """What ``openssl verify`` says of a leaf."""
        done = subprocess.run([require("openssl"), "verify", "-CAfile", str(self.folder / "ca.crt"), *options,
                               str(self.folder / f"{name}.crt")], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def test_servers_and_clients(self) -> None:
        """Each is good for its purpose and only for that; names of all kinds; keys are secret."""
        self.pki("issue", str(self.folder), "a.example", "--san", "*.a.example", "--san", "192.0.2.1", "--san", "::1")
        self.pki("issue", str(self.folder), "alice", "--client", "--san", "spiffe://lab/alice", "--san", "a@b.example")
        self.pki("issue", str(self.folder), "both.example", "--client", "--server")
        for name, purpose, good in (("a.example", "sslserver", True), ("a.example", "sslclient", False), ("alice", "sslclient", True),
                                    ("alice", "sslserver", False), ("both.example", "sslclient", True), ("both.example", "sslserver", True)):
            self.assertEqual("OK" in self.verify(name, "-purpose", purpose), good, (name, purpose))
        self.assertIn("OK", self.verify("a.example", "-verify_hostname", "x.a.example", "-x509_strict"))
        self.assertIn("OK", self.verify("a.example", "-verify_ip", "192.0.2.1"))
        for key in ("ca", "a.example", "alice"):
            self.assertEqual((self.folder / f"{key}.key").stat().st_mode & 0o777, 0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "a.example.crt", self.folder / "a.example.key")

    def test_renewing(self) -> None:
        """The same names, another key."""
        self.pki("issue", str(self.folder), "a.example", "--san", "b.example")
        before = (self.folder / "a.example.crt").read_bytes(), (self.folder / "a.example.key").read_bytes()
        self.assertIn("a.example, b.example", self.pki("renew", str(self.folder), "a.example", "--days", "5"))
        after = (self.folder / "a.example.crt").read_bytes(), (self.folder / "a.example.key").read_bytes()
        self.assertTrue(all(one != other for one, other in zip(before, after, strict=True)))
        self.assertIn("OK", self.verify("a.example", "-verify_hostname", "b.example"))

    def test_revoking(self) -> None:
        """The list grows; the others stay good."""
        for name in ("alice", "bob", "carol"):
            self.pki("issue", str(self.folder), name, "--client")
        self.pki("revoke", str(self.folder), "alice")
        self.pki("revoke", str(self.folder), "bob")
        crl = ("-crl_check", "-CRLfile", str(self.folder / "crl.pem"))
        self.assertEqual(["revoked" in self.verify(name, *crl) for name in ("alice", "bob", "carol")], [True, True, False])

    def test_mistakes(self) -> None:
        """Status 2 with a reason, and nothing is overwritten."""
        self.assertIn("there already", self.pki("init", str(self.folder), status=2))
        self.pki("issue", str(self.folder), "a.example")
        self.assertIn("renew", self.pki("issue", str(self.folder), "a.example", status=2))
        for arguments in (("issue", str(self.folder), "../x"), ("issue", str(self.folder), "ca"),
                          ("issue", str(self.folder), "b.example", "--san", "not a name"),
                          ("issue", str(self.folder), "b.example", "--days", "0"), ("renew", str(self.folder), "nobody"),
                          ("issue", str(self.folder / "nowhere"), "a.example")):
            self.pki(*arguments, status=2)
