"""Files of users and password hashes."""

from __future__ import annotations

import subprocess
from typing import Final

import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from voltgw.security.hashes import MAX_PASSWORD_BYTES, libcrypt
from voltgw.security.htpasswd import MAX_VERIFIED, Htpasswd, Verified

#: ``secret`` as the ``bcrypt`` package hashes it.
BCRYPT: Final = b"$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"


def openssl(kind: str, password: str, salt: str) -> bytes:
    """A hash that OpenSSL has made, which knows nothing of ours."""
    done = subprocess.run(["openssl", "passwd", kind, "-salt", salt, password], check=True, capture_output=True)
    return done.stdout.strip()


class KindTests(SynchronousTestCase):
    """Each kind of hash, made by somebody else."""

    def test_bcrypt(self) -> None:
        """``$2y$`` is taken, and only for its own password; so are hashes that the ``bcrypt`` package makes."""
        users = Htpasswd.parse(b"ada:" + BCRYPT)
        self.assertTrue(users.check(b"ada", b"secret"))
        self.assertFalse(users.check(b"ada", b"Secret"))
        for password in (b"secret", "schlüssel".encode(), b"x" * 72):
            stored = bcrypt.hashpw(password, bcrypt.gensalt(4))
            users = Htpasswd.parse(b"ada:" + stored)
            self.assertTrue(users.check(b"ada", password))
            self.assertFalse(users.check(b"ada", password[:-1]))

    def test_each_kind_of_openssl(self) -> None:
        """apr1, MD5-crypt and SHA-crypt of passwords of every length around a block, with letters beyond ASCII."""
        for kind in ("-apr1", "-1", "-5", "-6"):
            for password in ("x", "secret", "pässwörd", "0123456789abcdef", "0123456789abcdefg", "p" * 40):
                users = Htpasswd.parse(b"ada:" + openssl(kind, password, "Qw3rTy.1"))
                self.assertTrue(users.check(b"ada", password.encode("utf-8")), (kind, password))
                self.assertFalse(users.check(b"ada", password.encode("utf-8") + b"."), (kind, password))
                self.assertFalse(users.check(b"ada", b""), (kind, password))

    def test_rounds_are_obeyed(self) -> None:
        """A hash that names its rounds is made with these; libcrypt itself is the judge."""
        ffi, library = libcrypt()
        data = ffi.new("char[]", 1 << 18)
        stored = ffi.string(library.crypt_r(b"secret", b"$6$rounds=1234$salt", data))
        self.assertTrue(Htpasswd.parse(b"ada:" + stored).check(b"ada", b"secret"))
        self.assertFalse(Htpasswd.parse(b"ada:" + stored).check(b"ada", b"Secret"))

    def test_sha1_of_apache(self) -> None:
        """``{SHA}`` as `htpasswd -s` writes it."""
        users = Htpasswd.parse(b"ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")
        self.assertTrue(users.check(b"ada", b"secret"))
        self.assertFalse(users.check(b"ada", b"secret "))

    def test_what_is_no_hash_is_refused_without_being_shown(self) -> None:
        """Plain text, DES, hashes that would take minutes, and nonsense; the message has the line but nothing of it."""
        for stored in (b"secret", b"rqXexS6ZhobKA", b"$2y$31$" + BCRYPT[7:], b"$6$rounds=999999999$salt$" + b"x" * 86, b"",
                       b"$7$abc", b"{SSHA}abc", b"$y$jFT$salt$" + b"x" * 43):
            error = self.assertRaises(ValueError, Htpasswd.parse, b"# users\nada:" + stored + b"\n")
            self.assertIn("line 2", str(error))
            if stored:
                self.assertNotIn(stored.decode("ascii"), str(error))


class FileTests(SynchronousTestCase):
    """The file around the hashes."""

    def test_several_users(self) -> None:
        """Comments, empty lines, line ends of any kind, and a comment behind a second colon."""
        users = Htpasswd.parse(b"# ours\r\n\r\nada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\r\nbob:"
                               + openssl("-apr1", "b", "x") + b":Bob of Berlin\n")
        self.assertEqual(len(users), 2)
        self.assertTrue(users.check(b"ada", b"secret"))
        self.assertTrue(users.check(b"bob", b"b"))
        self.assertFalse(users.check(b"bob", b"secret"))

    def test_an_unknown_user_costs_what_a_known_one_does(self) -> None:
        """A hash is computed for a user who does not exist, and even its right password lets nobody in."""
        asked: list[bytes] = []

        def check(password: bytes) -> bool:
            asked.append(password)
            return True

        users = Htpasswd({b"ada": check})
        self.assertFalse(users.check(b"eve", b"secret"))
        self.assertEqual(asked, [b"secret"])

    def test_passwords_that_libcrypt_would_cut(self) -> None:
        """With a NUL or too long, a password fits nothing, whatever it begins with."""
        users = Htpasswd.parse(b"ada:" + openssl("-6", "secret", "salt"))
        self.assertFalse(users.check(b"ada", b"secret\0more"))
        self.assertFalse(users.check(b"ada", b"x" * (MAX_PASSWORD_BYTES + 1)))

    def test_an_empty_file(self) -> None:
        """Nobody is there, so nobody is let in."""
        self.assertFalse(Htpasswd.parse(b"\n# nobody\n").check(b"", b""))

    def test_two_of_one_name(self) -> None:
        """Which of them would count is not known, so it is an error."""
        line = b"ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
        self.assertIn("line 2", str(self.assertRaises(ValueError, Htpasswd.parse, line * 2)))

    def test_nothing_of_it_is_shown(self) -> None:
        """Neither repr nor str has a name or a hash."""
        users = Htpasswd.parse(b"ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")
        for text in (repr(users), str(users), f"{users}"):
            self.assertNotIn("ada", text)
            self.assertNotIn("5en6", text)


class VerifiedTests(SynchronousTestCase):
    """The memory for verdicts."""

    def test_for_how_long(self) -> None:
        """Good ones are kept longer than bad ones, and both end."""
        table = Verified(b"key", 60.0, 5.0)
        good, bad = table.mark(b"ada", b"secret"), table.mark(b"ada", b"wrong")
        table.note(good, True, 100.0)
        table.note(bad, False, 100.0)
        self.assertEqual((table.find(good, 104.9), table.find(bad, 104.9)), (True, False))
        self.assertEqual((table.find(good, 105.0), table.find(bad, 105.0)), (True, None))
        self.assertIs(table.find(good, 160.0), None)

    def test_marks_do_not_run_together(self) -> None:
        """User ``a`` with password ``b:c`` is not user ``a:b`` with ``c``, and another process marks differently."""
        table = Verified(b"key", 60.0, 5.0)
        self.assertNotEqual(table.mark(b"ab", b"c"), table.mark(b"a", b"bc"))
        self.assertNotEqual(table.mark(b"a", b"b"), Verified(b"yek", 60.0, 5.0).mark(b"a", b"b"))
        self.assertNotIn(b"secret", table.mark(b"ada", b"secret"))

    def test_it_is_bounded(self) -> None:
        """A million wrong passwords do not fill the memory, and the oldest verdicts are forgotten first."""
        table = Verified(b"key", 60.0, 5.0)
        marks = [table.mark(b"ada", b"%d" % number) for number in range(MAX_VERIFIED + 2)]
        for mark in marks:
            table.note(mark, False, 0.0)
        self.assertEqual([table.find(mark, 1.0) for mark in (*marks[:3], marks[-1])], [None, None, False, False])

