"""`hash_policy`: the key by which schedulers that hash choose (objects.md 5.7, 22.9)."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import build, exchange
from tests.routing.test_table import rule, to
from voltgw.config.objects.route import CookieForHashing, HashPolicyType
from voltgw.routing.hashing import fraction, hash_key, stable_hash
from voltgw.routing.problems import BuildErrors
from voltgw.routing.route import HashKey
from voltgw.values.exchange import Exchange
from voltgw.values.head import Field

HEADER = HashPolicyType(header_name="X-User")
SOURCE = HashPolicyType(source_ip=True)


def key(*policies: HashPolicyType) -> HashKey:
    """The function of these policies."""
    made = hash_key(policies)
    assert made is not None
    return made


def cookie(**fields: object) -> HashPolicyType:
    return HashPolicyType(cookie=CookieForHashing(name="u", **fields))  # type: ignore[arg-type]  # the caller's fields


def sent(*fields: Field, address: str = "192.0.2.7") -> Exchange:
    exchanged = exchange(fields)
    exchanged.client_address = address
    return exchanged


class StableTests(SynchronousTestCase):
    """The numbers themselves."""

    def test_known_values(self) -> None:
        """They never change: users would be sent to other endpoints by an upgrade."""
        self.assertEqual(stable_hash(b""), 0xE4A6A0577479B2B4)
        self.assertEqual(stable_hash(b"user-1"), int.from_bytes(__import__("hashlib").blake2b(b"user-1", digest_size=8).digest(), "big"))

    def test_other_processes(self) -> None:
        """Another process, with another seed of Python's own hash, has the same number."""
        code = "from voltgw.routing.hashing import stable_hash; print(stable_hash(b'user-1'))"
        for seed in ("1", "2"):
            done = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                                  capture_output=True, text=True, check=True)
            self.assertEqual(int(done.stdout), stable_hash(b"user-1"))

    def test_fractions(self) -> None:
        """Numbers in [0, 1), equally many in each tenth."""
        counts = [0] * 10
        for number in range(10_000):
            made = fraction(b"%d" % number)
            self.assertTrue(0 <= made < 1)
            counts[int(made * 10)] += 1
        self.assertLess(max(abs(count - 1000) for count in counts), 120)     # 4 standard deviations


class InputTests(SynchronousTestCase):
    """One policy."""

    def test_none(self) -> None:
        """Without policies there is no function, so the data plane calls none."""
        self.assertIsNone(hash_key(()))
        self.assertIsNone(build(rule()).routes[0].hash_key)

    def test_header(self) -> None:
        """Its first value; equal values give equal keys, none gives none."""
        made = key(HEADER)
        self.assertEqual(made(sent((b"x-user", b"bob"))), made(sent((b"a", b"b"), (b"x-user", b"bob"), (b"x-user", b"eve"))))
        self.assertNotEqual(made(sent((b"x-user", b"bob"))), made(sent((b"x-user", b"eve"))))
        self.assertIsNone(made(sent()))
        self.assertIsNotNone(made(sent((b"x-user", b""))))

    def test_source(self) -> None:
        """The client's address, after trusted proxies."""
        made = key(SOURCE)
        self.assertEqual(made(sent(address="2001:db8::1")), made(sent(address="2001:db8::1")))
        self.assertNotEqual(made(sent(address="2001:db8::1")), made(sent(address="2001:db8::2")))

    def test_cookie_without_life(self) -> None:
        """Without a ttl none is made."""
        made = key(cookie())
        exchanged = sent()
        self.assertIsNone(made(exchanged))
        self.assertIsNone(exchanged.cookies_to_set)
        self.assertEqual(made(sent((b"cookie", b"a=1; u=x"))), key(HEADER)(sent((b"x-user", b"x"))))

    def test_cookie_that_is_made(self) -> None:
        """It is set once, and the next request, which brings it, has the same key."""
        for ttl, wanted in ((0.0, b"; HttpOnly"), (3600.0, b"; Max-Age=3600; HttpOnly"), (0.2, b"; Max-Age=1; HttpOnly")):
            made = key(cookie(ttl_s=ttl))
            exchanged = sent()
            first = made(exchanged)
            assert exchanged.cookies_to_set is not None
            (line,) = exchanged.cookies_to_set
            value, behind = line[:18], line[18:]
            self.assertRegex(value, rb"^u=[0-9a-f]{16}$")
            self.assertEqual(behind, wanted)
            later = sent((b"cookie", value))
            self.assertEqual(made(later), first)
            self.assertIsNone(later.cookies_to_set)

    def test_cookies_of_one_connection(self) -> None:
        """The value is made of the connection's addresses and ports: requests sent before it arrives agree."""
        made = key(cookie(ttl_s=0.0))
        self.assertEqual(made(sent()), made(sent()))
        other = sent()
        other.client.peer_port += 1
        self.assertNotEqual(made(other), made(sent()))

    def test_attributes(self) -> None:
        """Path, HttpOnly (unless it is to be left out), Secure, SameSite."""
        for fields, wanted in (
            ({"path": "/a"}, b"; Path=/a; HttpOnly"), ({"ignore_httponly": True}, b""), ({"add_secure": True}, b"; Secure; HttpOnly"),
            ({"add_httponly": True, "samesite_strict": True}, b"; HttpOnly; SameSite=Strict"),
            ({"samesite_lax": True, "ignore_httponly": True}, b"; SameSite=Lax"),
            ({"samesite_none": True, "add_secure": True, "ignore_httponly": True}, b"; Secure; SameSite=None"),
            ({"ignore_samesite": True, "ignore_secure": True, "ignore_httponly": True}, b""),
        ):
            exchanged = sent()
            key(cookie(ttl_s=0.0, **fields))(exchanged)
            assert exchanged.cookies_to_set is not None
            self.assertEqual(exchanged.cookies_to_set[0][18:], wanted)

    def test_mistakes(self) -> None:
        """Each is shown where it stands."""
        for policy, path in ((HashPolicyType(), ""), (cookie(ttl_s=0.0, path="/;x"), ".cookie.path"),
                             (HashPolicyType(cookie=CookieForHashing(name="a b", ttl_s=0.0)), ".cookie.name")):
            error = self.assertRaises(BuildErrors, build, rule(to_=to("c", hash_policy=(SOURCE, policy))))
            self.assertEqual([problem.place.file for problem in error.problems],
                             [f"r.yaml:routes.0.route_destination.hash_policy.1{path}"])


class CombinationTests(SynchronousTestCase):
    """Several policies."""

    def test_all_count(self) -> None:
        """Each that gives something changes the key, and so does their order."""
        both = key(HEADER, SOURCE)
        bob = sent((b"x-user", b"bob"))
        self.assertNotIn(both(bob), (key(HEADER)(bob), key(SOURCE)(bob), key(SOURCE, HEADER)(bob)))
        self.assertEqual(both(sent()), key(SOURCE)(sent()))
        self.assertNotEqual(both(bob), both(sent((b"x-user", b"bob"), address="192.0.2.8")))

    def test_equal_inputs_do_not_undo_each_other(self) -> None:
        """The same header twice is still a key of that header."""
        twice = key(HEADER, HEADER)
        self.assertNotEqual(twice(sent((b"x-user", b"bob"))), twice(sent((b"x-user", b"eve"))))

    def test_terminal(self) -> None:
        """It is the last one if it gave something, and only then."""
        made = key(HashPolicyType(header_name="x-user", terminal=True), cookie(ttl_s=0.0))
        bob = sent((b"x-user", b"bob"))
        self.assertEqual(made(bob), key(HEADER)(bob))
        self.assertIsNone(bob.cookies_to_set)
        nobody = sent()
        self.assertIsNotNone(made(nobody))
        self.assertIsNotNone(nobody.cookies_to_set)

    def test_nothing_gives_anything(self) -> None:
        """Then there is no key (the scheduler picks as it likes)."""
        self.assertIsNone(key(HEADER, cookie())(sent()))

    def test_two_cookies(self) -> None:
        """Both are set."""
        other = HashPolicyType(cookie=CookieForHashing(name="v", ttl_s=0.0))
        exchanged = sent()
        key(cookie(ttl_s=0.0), other)(exchanged)
        assert exchanged.cookies_to_set is not None
        self.assertEqual([line[:2] for line in exchanged.cookies_to_set], [b"u=", b"v="])

    def test_keys_fit_in_64_bits(self) -> None:
        """Schedulers may rely on it."""
        made = key(HEADER, SOURCE, cookie(ttl_s=0.0), HEADER)
        for number in range(200):
            value = made(sent((b"x-user", b"%d" % number)))
            assert value is not None
            self.assertTrue(0 <= value < 1 << 64)
