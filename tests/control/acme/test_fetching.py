"""Certificates that are fetched: what is asked of the CA and when, whatever goes wrong."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.control.acme.ca import START, URL, Answers, Ca, refusing, saying
from voltgw.control.acme.challenges.http_01 import Http01
from voltgw.control.acme.challenges.tls_alpn_01 import TlsAlpn01
from voltgw.control.acme.fetching import MOST_AT_ONCE, MOST_ORDERS, Fetching, Settings, World
from voltgw.control.acme.problems import NotKept, Unreachable
from voltgw.control.acme.store import Store

Wanted = dict[tuple[str, ...], tuple[str, ...]]
SHOP: tuple[str, ...] = ("shop.example", "www.shop.example")
WANTED: Wanted = {SHOP: ("default/shop",)}
KINDS: dict[str, Any] = {"http-01": Http01, "tls-alpn-01": TlsAlpn01}


class FetchingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.set_s = 0.0                        # the wall clock was set by so much
        self.answers = Answers()
        self.ca = Ca(self.wall, self.answers)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.changed = 0
        self.settings = Settings(f"{URL}/dir")
        self.fetching = self.make()

    def tearDown(self) -> None:
        self.fetching.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.answers.http, self.answers.tls), ({}, {}))   # no challenge is answered any longer

    def wall(self) -> float:
        """Seconds since the epoch."""
        return START + self.clock.seconds() + self.set_s

    def make(self) -> Fetching:
        """As a process that has just started."""
        return Fetching(Store(str(self.folder)), self.wall)

    def start(self, wanted: Wanted | None = None, **settings: Any) -> None:
        """Follow and start; what is due is begun."""
        self.settings = Settings(f"{URL}/dir", **settings)
        self.fetching.follow(self.settings, WANTED if wanted is None else wanted)

        def note() -> None:
            self.changed += 1

        self.fetching.start(World(
            self.clock, self.clock.seconds, Random(0), lambda settings: self.ca, lambda settings: KINDS[settings.challenge](),
            self.answers, note))
        self.clock.advance(0)

    def restart(self) -> None:
        """Another process on the same folder."""
        self.fetching.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.fetching = self.make()
        self.start()

    def advance(self, seconds: float, step_s: float = 10.0) -> None:
        """Time passes."""
        steps = int(seconds / step_s)
        self.clock.pump([step_s] * steps + [seconds - steps * step_s])

    def one(self) -> dict[str, Any]:
        """The page of the only certificate."""
        (found,) = self.fetching.view()
        return found

    def orders(self) -> int:
        """New orders so far."""
        return self.ca.count("/new-order")


class IssueTests(FetchingCase):
    def test_the_whole_way(self) -> None:
        """Account, order, challenge of each name, request, chain; then it is served and kept, and nothing more is asked."""
        self.assertIsNone(self.fetching.pair(SHOP))
        for challenge in KINDS:
            self.start(contacts=("mailto:ops@shop.example",), challenge=challenge)
            self.advance(60)
            pair = self.fetching.pair(SHOP)
            assert pair is not None
            leaf = x509.load_pem_x509_certificate(pair.chain)
            key = load_pem_private_key(pair.key, None)
            self.assertEqual(leaf.public_key(), key.public_key())
            self.assertEqual((self.changed, self.orders(), self.fetching.results["issued"]), (1, 1, 1))
            self.assertEqual((self.one()["state"], self.one()["virtual_hosts"], self.one()["failures"]), ("valid", ["default/shop"], 0))
            self.assertEqual(self.answers.told, 2)
            asked = len(self.ca.asked)
            self.advance(3600)
            self.assertEqual(len(self.ca.asked), asked)
            self.fetching.stop()
            self.setUp()

    def test_what_is_said_of_us(self) -> None:
        """Contacts at registration, identifiers in the order, nothing else of ours."""
        self.start(contacts=("mailto:ops@shop.example",))
        self.advance(60)
        said = dict(self.ca.payloads)
        self.assertEqual(said["/new-account"], {"termsOfServiceAgreed": True, "contact": ["mailto:ops@shop.example"]})
        self.assertEqual(said["/new-order"], {"identifiers": [{"type": "dns", "value": name} for name in SHOP]})

    def test_kinds_of_keys(self) -> None:
        """P-256 by default, RSA if asked for; a new key for each certificate."""
        for kind, cls in (("ecdsa", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey)):
            self.start(key_kind=kind)
            self.advance(60)
            pair = self.fetching.pair(SHOP)
            assert pair is not None
            self.assertIsInstance(load_pem_private_key(pair.key, None), cls)
            self.fetching.stop()
            self.setUp()

    def test_while_it_is_pending(self) -> None:
        """The reason says what is going on, and the page, too."""
        self.ca.looks = 5
        self.start()
        self.assertEqual(self.fetching.reason(SHOP), "certificate pending: an order is under way")
        self.assertEqual((self.one()["state"], self.one()["under_way"]), ("pending", True))
        self.advance(120)
        self.assertEqual(self.one()["state"], "valid")

    def test_an_external_account(self) -> None:
        """It is bound by the key that the CA has given out; without one the CA's wish is told."""
        self.ca.binding = "kid-7"
        self.start()
        self.advance(30)
        self.assertIn("external account binding: say `gateway.acme.external_account`", self.one()["last_error"])
        self.fetching.follow(Settings(f"{URL}/dir", key_id="kid-7", secret=b"secret"), WANTED)
        self.advance(60)
        self.assertEqual(self.one()["state"], "valid")

    def test_several_certificates(self) -> None:
        """One account for all, few orders at a time, each name set its own certificate."""
        wanted: Wanted = {(f"{n}.example",): (f"default/h{n}",) for n in range(12)}
        most = 0
        self.ca.looks = 3
        self.start(wanted)
        for _ in range(300):
            self.clock.advance(1)
            most = max(most, sum(one["under_way"] for one in self.fetching.view()))
        self.assertEqual({one["state"] for one in self.fetching.view()}, {"valid"})
        self.assertEqual((most, self.ca.count("/new-account"), self.orders(), self.changed), (MOST_AT_ONCE, 1, 12, 12))

    def test_one_that_only_a_refused_configuration_wants(self) -> None:
        """Building asks what there is; as long as nobody serves that, nobody is asked for it."""
        self.start()
        self.assertIsNone(self.fetching.pair(("mistyped.example",)))
        self.advance(600)
        self.assertEqual((self.orders(), [one["names"] for one in self.fetching.view()]), (1, [list(SHOP)]))
        self.fetching.follow(self.settings, {**WANTED, ("mistyped.example",): ("default/m",)})
        self.advance(60)
        self.assertEqual(self.orders(), 2)

    def test_one_that_is_wanted_no_more(self) -> None:
        """Its order is given up at once, with its challenge."""
        self.ca.looks = 100
        self.start()
        self.assertEqual(len(self.answers.tls), 1)
        self.fetching.follow(self.settings, {})
        self.assertEqual((self.answers.tls, list(self.fetching.view()), self.clock.getDelayedCalls()), ({}, [], []))


class KeptTests(FetchingCase):
    def test_files(self) -> None:
        """Nobody but the owner may read them; certificate and key are one file."""
        self.start()
        self.advance(60)
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        self.assertEqual([path.suffix for path in files], [".json", ".json", ".pem"])
        for path in files:
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
            self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700, path)
        self.assertEqual(files[2].read_bytes().count(b"-----BEGIN "), 2)

    def test_a_restart(self) -> None:
        """What is kept serves before anybody is asked; nobody is asked, and the account stays."""
        self.start()
        self.advance(60)
        before, asked = self.fetching.pair(SHOP), len(self.ca.asked)
        self.restart()
        self.assertEqual(self.fetching.pair(SHOP), before)
        self.advance(600)
        self.assertEqual((len(self.ca.asked), self.one()["state"]), (asked, "valid"))

    def test_a_restart_in_the_middle_of_an_order(self) -> None:
        """The order goes on where it was: nothing new is asked for."""
        self.ca.looks = 4
        self.start()
        self.assertEqual((self.orders(), self.one()["under_way"]), (1, True))
        self.restart()
        self.advance(120)
        self.assertEqual((self.one()["state"], self.orders(), self.ca.count("/new-account")), ("valid", 1, 1))

    def test_crashes_in_the_middle_of_every_try(self) -> None:
        """A process that dies as soon as it asks makes no more orders than one that lives."""
        for _ in range(20):
            self.ca.fault("/new-order", Deferred())
            self.start()
            self.fetching.stop()
            self.fetching = self.make()
        self.assertEqual(self.ca.count("/new-order"), 1)

    def test_a_full_disk_before_the_order(self) -> None:
        """Without a place to keep it nothing is asked of the CA."""
        (self.folder / "acme").write_text("in the way")
        self.start()
        self.advance(3600)
        self.assertEqual(self.ca.asked, [])
        self.assertIn("cannot be", self.one()["last_error"])
        os.unlink(self.folder / "acme")
        self.advance(8 * 3600)
        self.assertEqual(self.one()["state"], "valid")

    def test_a_full_disk_after_the_order(self) -> None:
        """What was issued serves, and is kept as soon as it can be; a restart before that fetches it from its order."""
        store = self.fetching._store
        write = store._write

        def full(path: Path, data: bytes) -> None:
            if path.suffix == ".pem":
                raise NotKept(f"{path} cannot be written: No space left on device")
            write(path, data)

        self.patch(store, "_write", full)
        self.start()
        self.advance(60)
        self.assertEqual((self.changed, self.one()["state"], self.one()["kept"]), (1, "valid", False))
        self.restart()
        self.advance(60)
        self.assertEqual((self.one()["state"], self.orders(), self.one()["kept"]), ("valid", 1, True))

    def test_damaged_files(self) -> None:
        """A certificate that cannot be used is fetched anew; a damaged account is not replaced by a new one in silence."""
        self.start()
        self.advance(60)
        (pem,) = self.folder.rglob("*.pem")
        pem.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense")
        self.restart()
        self.advance(60)
        self.assertEqual((self.one()["state"], self.orders()), ("valid", 2))
        (account,) = (self.folder / "acme/accounts").iterdir()
        account.write_text("{}")
        pem.unlink()
        self.restart()
        self.advance(60)
        self.assertIn("is damaged; remove it to have a new account made", self.one()["last_error"])
        self.assertEqual(self.ca.count("/new-account"), 1)

    def test_the_key_of_another(self) -> None:
        """A kept certificate whose key is another one's is not served."""
        self.start()
        self.advance(60)
        (pem,) = self.folder.rglob("*.pem")
        other = ec.generate_private_key(ec.SECP256R1())
        chain = pem.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")[2]
        pem.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + b"-----BEGIN CERTIFICATE-----" + chain)
        self.assertIsNone(self.make().pair(SHOP))


class RenewalTests(FetchingCase):
    def test_at_two_thirds_of_its_life(self) -> None:
        """Not earlier but for a small spread, and with a new key; the old one serves until then."""
        self.start()
        self.advance(60)
        first = self.fetching.pair(SHOP)
        self.advance(86400 * 0.63)
        self.assertEqual((self.orders(), self.fetching.pair(SHOP)), (1, first))
        self.advance(86400 * 0.05)
        second = self.fetching.pair(SHOP)
        assert first is not None and second is not None
        self.assertEqual((self.orders(), self.changed), (2, 2))
        self.assertNotEqual(first.key, second.key)

    def test_as_early_as_the_operator_says(self) -> None:
        """But not before half of its life is over."""
        for before_s, at in ((86400 * 0.4, 0.58), (86400 * 5.0, 0.48)):
            self.start(renew_before_s=before_s)
            self.advance(86400 * (at - 0.03))
            self.assertEqual(self.orders(), 1)
            self.advance(86400 * 0.06)
            self.assertEqual(self.orders(), 2)
            self.fetching.stop()
            self.setUp()

    def test_a_renewal_that_fails(self) -> None:
        """The old one serves on, to its end and beyond; the tries are few."""
        self.start()
        self.advance(60)
        first = self.fetching.pair(SHOP)
        self.ca.fault("/new-order", refusing(403, "rejectedIdentifier"), stays=True)
        self.advance(86400 * 0.9)
        self.assertEqual((self.fetching.pair(SHOP), self.one()["state"]), (first, "valid"))
        self.assertIn("rejectedIdentifier", self.one()["last_error"])
        self.advance(86400 * 0.3)
        self.assertEqual((self.fetching.pair(SHOP), self.one()["state"]), (first, "expired"))
        self.assertLess(self.orders(), 12)

    def test_another_ca(self) -> None:
        """A certificate is asked of it at once; that of the former one serves until it is there."""
        self.start()
        self.advance(60)
        first = self.fetching.pair(SHOP)
        self.fetching.follow(Settings(f"{URL}/dir", challenge="http-01"), WANTED)
        self.advance(300)
        self.assertEqual((self.orders(), self.fetching.pair(SHOP)), (1, first))     # another challenge is no reason
        self.ca = Ca(self.wall, self.answers)
        self.ca.fault("/directory", Unreachable("not yet"))
        self.fetching.follow(Settings(f"{URL}/directory"), WANTED)
        self.advance(30)
        self.assertEqual((self.orders(), self.fetching.pair(SHOP), self.one()["issued_by"]), (0, first, f"{URL}/dir"))
        self.advance(300)
        self.assertEqual((self.orders(), self.one()["issued_by"], len(self.ca.accounts)), (1, f"{URL}/directory", 1))
        self.assertNotEqual(self.fetching.pair(SHOP), first)


class FailureTests(FetchingCase):
    def failing(self, hours: float = 24) -> int:
        """New orders in so many hours."""
        before = self.orders()
        self.advance(hours * 3600)
        return self.orders() - before

    def test_a_name_that_is_not_ours(self) -> None:
        """The CA's words are shown; tries are fewer and fewer; a new order each, since the old one is spoilt."""
        self.answers.answer_tls = lambda name, pair: None       # type: ignore[method-assign]
        self.start()
        self.assertEqual(self.failing(1), 3)        # after a first one; fewer than the five that public CAs take in an hour
        self.assertIn("does not believe that shop.example is ours (invalid): unauthorized: what is there is something else",
                      self.one()["last_error"])
        self.assertEqual(self.one()["state"], "failed")
        self.assertRegex(self.fetching.reason(SHOP), r"^certificate pending: the next try is at 20\d\d-.*; the last one failed: the CA does not")
        self.assertLess(self.failing(24), 8)
        self.assertEqual(self.changed, 0)

    def test_no_such_challenge(self) -> None:
        """What the CA offers is told."""
        self.ca.offers = ("dns-01",)
        self.start()
        self.advance(10)
        self.assertIn("the CA offers no tls-alpn-01 challenge for shop.example, but dns-01", self.one()["last_error"])

    def test_bad_nonces(self) -> None:
        """Each is tried anew with the nonce of the answer; one that is refused forever is an error, not a loop."""
        for _ in range(3):
            self.ca.fault("/new-order", refusing(400, "badNonce"))
        self.start()
        self.advance(60)
        self.assertEqual((self.one()["state"], self.ca.count("/new-order")), ("valid", 4))
        self.fetching.stop()
        self.setUp()
        self.ca.fault("/new-account", refusing(400, "badNonce"), stays=True)
        self.start()
        self.assertEqual(self.ca.count("/new-account"), 10)
        self.assertIn("none of 10 nonces", self.one()["last_error"])

    def test_a_rate_limit(self) -> None:
        """All of our orders wait as long as the CA says, over a restart, too; then they go well."""
        self.ca.fault("/new-order", refusing(429, "rateLimited", "too many certificates", retry_after="7200"))
        wanted: Wanted = {(f"{n}.example",): () for n in range(6)}
        self.start(wanted)
        self.advance(7100)
        self.assertLessEqual(self.orders(), MOST_AT_ONCE)
        self.assertEqual(self.fetching.results["limited"], 1)
        self.advance(3600)
        self.assertEqual({one["state"] for one in self.fetching.view()}, {"valid"})

    def test_a_rate_limit_over_a_restart(self) -> None:
        """What the CA asked for is not forgotten, neither for this certificate nor for others, whatever the operator does."""
        self.ca.fault("/new-order", refusing(429, "rateLimited", retry_after="7200"), stays=True)
        self.start()
        self.restart()
        self.fetching.follow(self.settings, {**WANTED, ("other.example",): ()})
        self.fetching.hurry()
        self.advance(3000)
        self.fetching.follow(Settings(f"{URL}/dir", challenge="http-01"), {**WANTED, ("other.example",): ()})
        self.advance(4100)
        self.assertEqual(self.orders(), 1)

    def test_a_date_to_come_back(self) -> None:
        """Retry-After may be a date; one beyond all measure is not believed."""
        self.ca.fault("/new-order", refusing(429, "rateLimited", retry_after="Sun, 17 Mar 2030 17:46:40 GMT"))    # START
        self.start()
        self.advance(200)
        self.assertEqual(self.orders(), 1)          # our own wait is longer
        self.advance(400)
        self.assertEqual(self.one()["state"], "valid")
        self.fetching.stop()
        self.setUp()
        self.ca.fault("/new-order", refusing(429, "rateLimited", retry_after="99999999999"))
        self.start()
        self.advance(8 * 86400, 600)
        self.assertEqual(self.one()["state"], "valid")

    def test_the_ca_is_down(self) -> None:
        """It is asked again soon, then less and less often, for all certificates together."""
        self.ca.fault("/dir", Unreachable("https://ca.example/dir cannot be reached: refused"), stays=True)
        self.start({(f"{n}.example",): () for n in range(10)})
        self.advance(3600)
        self.assertLess(self.ca.count("/dir"), 15)
        self.assertGreater(self.ca.count("/dir"), 3)
        self.assertIn("cannot be reached: refused", next(self.fetching.view())["last_error"])
        self.advance(86400)
        self.assertLess(self.ca.count("/dir"), 35)
        self.ca.heal()
        self.advance(7 * 3600)
        self.assertEqual({one["state"] for one in self.fetching.view()}, {"valid"})

    def test_the_ca_goes_down_in_the_middle(self) -> None:
        """The order is taken up again when it is back."""
        self.ca.fault("/finalize/", Unreachable("gone"))
        self.start()
        self.advance(30)
        self.assertIn("gone", self.one()["last_error"])
        self.advance(300)
        self.assertEqual((self.one()["state"], self.orders()), ("valid", 1))

    def test_a_ca_that_is_never_done(self) -> None:
        """The wait has an end; the order is still the same later."""
        self.ca.looks = 10**9
        self.start()
        self.advance(400)
        self.assertIn("has not looked at shop.example within 180 s", self.one()["last_error"])
        self.ca.looks = 1
        self.advance(3600)
        self.assertEqual((self.one()["state"], self.orders()), ("valid", 1))

    def test_a_ca_that_asks_for_patience(self) -> None:
        """Retry-After of an authorization is obeyed, within reason."""
        self.ca.looks = 3
        self.start()
        before = self.ca.count("/authz/")
        self.advance(1.5, 0.5)
        self.assertEqual(self.ca.count("/authz/"), before)      # two seconds where it says nothing
        self.advance(60, 1)
        self.assertEqual(self.one()["state"], "valid")

    def test_an_order_that_becomes_invalid(self) -> None:
        """It is forgotten, and the next try makes a new one."""
        self.ca.fault("/finalize/", saying(
            b'{"status": "invalid", "authorizations": [], "finalize": "https://ca.example/finalize/1", '
            b'"error": {"type": "urn:ietf:params:acme:error:badCSR", "detail": "weak key"}}'))
        self.start()
        self.advance(10)
        self.assertIn("the CA has made the order invalid: badCSR: weak key", self.one()["last_error"])
        self.advance(600)
        self.assertEqual((self.one()["state"], self.orders()), ("valid", 2))

    def test_an_order_that_the_ca_has_forgotten(self) -> None:
        """The restart that would go on with it makes a new one, once."""
        self.ca.looks = 4
        self.start()
        self.ca.orders.clear()
        self.restart()
        self.advance(120)
        self.assertEqual((self.one()["state"], self.orders()), ("valid", 2))

    def test_an_account_that_the_ca_has_forgotten(self) -> None:
        """It is registered anew with the same key, once."""
        self.start()
        self.advance(60)
        (key,) = self.ca.accounts.values()
        self.ca.accounts.clear()
        self.advance(86400 * 0.7)
        self.assertEqual((self.orders(), self.ca.count("/new-account"), list(self.ca.accounts.values())), (3, 2, [key]))
        self.assertEqual(self.fetching.results["issued"], 2)

    def test_answers_that_make_no_sense(self) -> None:
        """Each is told as what it is, and nothing is believed of it."""
        order = b'{"status": "pending", "authorizations": [%s], "finalize": "%s"}'
        for path, answer, told in (
            ("/dir", saying(b"<html>"), "answers with what is no JSON"),
            ("/dir", saying(b"[" * 100_000), "answers with what is no JSON"),
            ("/dir", saying(b"[]"), "JSON that is no object"),
            ("/dir", saying(b"{}"), "newNonce that is no URL"),
            ("/dir", saying(b'{"newNonce": "http://ca.example/"}'), "no https URL: http://ca.example/"),
            ("/dir", saying(b"", 503), "ca.example answers 503"),
            ("/new-account", saying(b"{}", 201), "without a Location"),
            ("/new-order", saying(order % (b"", b"file:///etc/passwd"), 201, location="https://ca.example/order/1"), "no https URL"),
            ("/new-order", saying(order % (b"7", b"https://ca.example/f"), 201, location="https://ca.example/order/1"), "no URL"),
            ("/new-order", saying(b'{"authorizations": 7}', 201, location="https://ca.example/o"), "no list of authorizations"),
            ("/authz/", saying(b'{"identifier": 7}'), "no authorization"),
            ("/authz/", saying(b'{"status": "pending", "identifier": {"value": "shop.example"}, "challenges": [{"type": "tls-alpn-01", '
                               b'"url": "https://ca.example/c", "token": "../../etc"}]}'), "a token that is none"),
            ("/certificate/", saying(b"nonsense"), "no chain of certificates"),
        ):
            self.ca.fault(path, answer)
            self.start()
            self.advance(30)
            self.assertIn(told, self.one()["last_error"], (path, answer.body[:50]))
            self.assertLess(len(self.one()["last_error"]), 800)
            self.advance(1200)
            self.assertEqual(self.one()["state"], "valid", told)
            self.fetching.stop()
            self.setUp()

    def test_a_certificate_for_another_key(self) -> None:
        """It is not served."""
        self.ca.key = ec.generate_private_key(ec.SECP256R1()).public_key()
        self.start()
        self.advance(60)
        self.assertIn("issued for another key", self.one()["last_error"])
        self.assertIsNone(self.fetching.pair(SHOP))

    def test_a_clock_that_is_wrong(self) -> None:
        """A certificate that is not valid by our own clock is told, and is not a reason to ask again and again."""
        self.ca.wall = lambda: self.wall() - 10 * 86400
        self.start()
        self.assertLess(self.failing(24), 10)
        self.assertIn("our clock says 2030-03-", self.one()["last_error"])

    def test_a_clock_that_is_set_back(self) -> None:
        """A wait that was written down by a clock that ran ahead does not last for years."""
        self.set_s = 10 * 365 * 86400.0
        self.ca.fault("/new-order", refusing(403, "rejectedIdentifier"))
        self.start()
        self.advance(1)
        self.assertEqual(self.one()["failures"], 1)
        self.set_s = 0.0
        self.advance(7 * 3600)
        self.assertEqual(self.one()["state"], "valid")

    def test_too_many_orders(self) -> None:
        """There is a bound of our own, whatever is configured."""
        self.ca.fault("/new-order", refusing(403, "rejectedIdentifier"), stays=True)
        self.start({(f"{n}.example",): () for n in range(MOST_ORDERS + 50)})
        self.advance(600, 1)
        self.assertEqual(self.orders(), MOST_ORDERS)
        self.assertIn("our own limit", "".join(one["last_error"] for one in self.fetching.view()))

    def test_a_bug_of_ours(self) -> None:
        """It is logged and counted as a failure, with the same waits."""
        self.patch(Http01, "present", lambda *args: 1 / 0)
        self.start(challenge="http-01")
        self.patch(Http01, "withdraw", lambda *args: None)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.advance(200)
        self.assertEqual((self.one()["last_error"], self.orders()), ("internal error; the log says more", 1))

    def test_the_operator_has_it_tried_again(self) -> None:
        """At once, but for four times an hour at most, however often somebody asks."""
        self.ca.fault("/new-order", refusing(403, "rejectedIdentifier"), stays=True)
        self.start()
        self.advance(4 * 3600)
        before = self.orders()
        self.fetching.hurry()
        self.advance(1)
        self.assertEqual(self.orders(), before + 1)
        for _ in range(120):                    # somebody reloads every minute
            self.fetching.hurry()
            self.advance(60)
        self.assertLess(self.orders() - before, 11)

    def test_the_operator_corrects_it(self) -> None:
        """Other settings are tried at once, without the wait that the old ones have earned."""
        self.ca.offers = ("http-01",)
        self.start()
        self.advance(5000)
        self.assertEqual(self.one()["state"], "failed")
        self.fetching.follow(Settings(f"{URL}/dir", challenge="http-01"), WANTED)
        self.advance(30)
        self.assertEqual(self.one()["state"], "valid")

    def test_other_contacts(self) -> None:
        """The account is told."""
        self.start(contacts=("mailto:a@shop.example",))
        self.advance(60)
        self.fetching.follow(Settings(f"{URL}/dir", ("mailto:b@shop.example",)), WANTED)
        self.advance(86400 * 0.7)
        self.assertIn(("/account/1", {"contact": ["mailto:b@shop.example"]}), self.ca.payloads)
