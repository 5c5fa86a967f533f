"""JSON web tokens: which are accepted, which are not, and what is remembered of them."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.security.making import asks
from tests.security.tokens import GOOD, NOW, SECRET, ec, jwks, okp, part, raw, rsa, short_rsa, signed
from voltgw.security.jwt import MAX_REMEMBERED, REFUSED_S, Jwt, JwtTerms, KeySource
from voltgw.security.keys import KeySet
from voltgw.security.places import CredentialPlace, authorization, cookie, header, parameter
from voltgw.security.proofs import Accepted, Denied
from voltgw.values.exchange import Exchange

_NAN, _ENDLESS, _NO_UTF8 = b'{"exp": NaN}', b'{"exp": 1e999}', b'{"a": "\xff"}'
_HALF, _PAIR = rb'{"sub": "\ud83d"}', rb'{"sub": "\ud83d\ude00"}'
_LONG_NUMBER = b'{"exp": ' + b"9" * 5000 + b"}"

ALL_KEYS = jwks(rsa(), ec(), ec("e3", "P-384"), ec("e5", "P-521"), okp(), SECRET)


class Wall:
    """A clock."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class JwtTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.wall = Wall()
        self.keys = KeySource("https://id.example/keys", KeySet.parse(ALL_KEYS, secrets=True))

    def method(self, *places: CredentialPlace, keys: bytes | None = None, **terms: Any) -> Jwt:
        """The method with some terms."""
        if keys is not None:
            self.keys.install(KeySet.parse(keys, secrets=True))
        drop = terms.pop("drop", False)
        return Jwt(JwtTerms(**terms), self.keys, places or (authorization("Bearer"),), self.wall, "shop", drop=drop)

    def said(self, method: Jwt, token: str | bytes, target: str = "/") -> str:
        """The verdict in a word; asked twice it is the same, and so is what explain says."""
        text = token if isinstance(token, str) else token.decode("latin-1")
        exchange = asks(target, "GET", f"Authorization: Bearer {text}")
        return self.verdict(method, exchange)

    def verdict(self, method: Jwt, exchange: Exchange) -> str:
        """Likewise of any request."""
        words = [_word(method.check(exchange)), _word(method.check(exchange)), _word(method.rehearse(exchange)[0])]
        self.assertEqual(len(set(words)), 1, words)
        return words[0]


def _word(verdict: object) -> str:
    if isinstance(verdict, Accepted):
        return "accepted"
    assert isinstance(verdict, Denied), verdict
    return verdict.reason


class VerdictTests(JwtTestCase):
    """One token at a time."""

    def test_every_algorithm(self) -> None:
        """A token that is signed with any algorithm of a key of the set is accepted, and says who it is of."""
        method = self.method()
        for alg, key in (("RS256", rsa()), ("RS384", rsa()), ("RS512", rsa()), ("PS256", rsa()), ("PS384", rsa()), ("PS512", rsa()),
                         ("ES256", ec()), ("ES384", ec("e3", "P-384")), ("ES512", ec("e5", "P-521")), ("EdDSA", okp()),
                         ("Ed25519", okp()), ("HS256", SECRET), ("HS384", SECRET), ("HS512", SECRET)):
            self.assertEqual(self.said(method, signed(key=key, alg=alg)), "accepted", alg)
            self.assertEqual(self.said(method, signed(key=key, alg=alg)[:-8] + "AAAAAAAA"), "signature", alg)

    def test_what_is_proven(self) -> None:
        """Name and claims of the user, as the token has them."""
        verdict = self.method().check(asks("/", "GET", f"Authorization: bearer  {signed()}"))
        assert isinstance(verdict, Accepted)
        self.assertEqual((verdict.user.name, verdict.user.by, verdict.user.claims), ("ada", "jwt", GOOD))

    def test_unsigned(self) -> None:
        """``alg: none`` in any spelling is refused, with or without a signature, even where the set has keys without an id."""
        method = self.method(keys=jwks(rsa(), kid=None).replace(b'"kid": null, ', b"").replace(b', "kid": null', b""))
        for alg in ("none", "None", "NONE", "nOnE", ""):
            for tail in ("", part(b"x")):
                token = f"{part({'alg': alg})}.{part(GOOD)}.{tail}"
                self.assertEqual(self.said(method, token), "algorithm", (alg, tail))

    def test_key_confusion(self) -> None:
        """The public key of RSA is no secret of HMAC, in whatever form somebody uses it."""
        method = self.method(keys=jwks(rsa()))
        public = rsa().as_dict(private=False)
        for secret in (rsa().as_pem(private=False), rsa().as_pem(private=False).strip(), str(public["n"]).encode(),
                       json.dumps(public).encode(), rsa().as_der(private=False)):
            text = f"{part({'alg': 'HS256', 'kid': 'r'})}.{part(GOOD)}"
            token = f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}"
            self.assertEqual(self.said(method, token), "algorithm")

    def test_an_algorithm_that_is_not_allowed(self) -> None:
        """Although there is a key for it."""
        method = self.method(algorithms=frozenset(("ES256",)))
        self.assertEqual(self.said(method, signed(key=ec(), alg="ES256")), "accepted")
        self.assertEqual(self.said(method, signed()), "algorithm")
        self.assertEqual(self.said(method, signed(key=SECRET, alg="HS256")), "algorithm")

    def test_a_key_that_names_its_algorithm(self) -> None:
        """It verifies nothing else."""
        method = self.method(keys=jwks(rsa(), alg="RS256"))
        self.assertEqual(self.said(method, signed()), "accepted")
        self.assertEqual(self.said(method, signed(alg="PS256")), "algorithm")

    def test_times(self) -> None:
        """exp and nbf with their leeway, to the second; nonsense in them is refused."""
        method = self.method(leeway_s=60.0)
        for claims, word in (
                ({"exp": NOW - 59}, "accepted"), ({"exp": NOW - 60}, "expired"), ({"exp": NOW - 1e6}, "expired"),
                ({"nbf": NOW + 60}, "accepted"), ({"nbf": NOW + 61}, "not_yet_valid"), ({}, "accepted"),
                ({"exp": str(NOW + 60)}, "malformed"), ({"exp": True}, "malformed"), ({"exp": None}, "malformed"),
                ({"exp": [NOW]}, "malformed"), ({"exp": 1e300}, "malformed"), ({"nbf": -1e300}, "malformed"),
                ({"exp": NOW + 0.5}, "accepted"), ({"nbf": {"a": 1}}, "malformed"), ({"iat": NOW + 1e6}, "accepted")):
            self.assertEqual(self.said(method, signed({"sub": "ada", **claims})), word, claims)
        self.assertEqual(self.said(self.method(period=False), signed({"exp": 1})), "accepted")

    def test_issuer_audience_and_mandatory_claims(self) -> None:
        """Each must be what is asked for, exactly; of several audiences one is enough on either side."""
        method = self.method(issuer="https://id.example", audiences=frozenset(("shop", "api")), mandatory=("sub", "scope"))
        good = {**GOOD, "scope": "read"}
        for change, word in (
                ({}, "accepted"), ({"aud": ["other", "api"]}, "accepted"), ({"aud": "Shop"}, "audience"), ({"aud": None}, "audience"),
                ({"aud": []}, "audience"), ({"aud": [["shop"]]}, "audience"), ({"aud": {"shop": 1}}, "audience"),
                ({"iss": "https://id.example/"}, "issuer"), ({"iss": None}, "issuer"), ({"iss": ["https://id.example"]}, "issuer"),
                ({"scope": ""}, "missing_claim"), ({"scope": None}, "missing_claim"), ({"sub": []}, "missing_claim"),
                ({"scope": False}, "accepted")):
            claims = {name: value for name, value in {**good, **change}.items() if value is not None}
            self.assertEqual(self.said(method, signed(claims)), word, change)

    def test_what_is_no_token(self) -> None:
        """Cut, padded, in another alphabet, of other JSON, nested, doubled: each is refused, and none is an error of ours."""
        method = self.method()
        good = signed()
        head, payload, signature = good.split(".")
        odd = part(b'{"alg":"RS256"}')
        for token, word in (
                (good[:-1], "malformed"), (good + "=", "malformed"), (good + ".x", "malformed"), (f"{head}.{payload}", "malformed"),
                (f".{payload}.{signature}", "malformed"), (f"{head}..{signature}", "malformed"),
                (f"{head}.{payload}.", "signature"), (good.replace("_", "/", 1) if "_" in good else good + "/", "malformed"),
                (f"{odd}.{part(b'[1]')}.{signature}", "malformed"), (f"{odd}.{part(b'no')}.{signature}", "malformed"),
                (f"{part(b'[]')}.{payload}.{signature}", "malformed"), (f"{part(b'{}')}.{payload}.{signature}", "malformed"),
                (f"{part({'alg': 5})}.{payload}.{signature}", "malformed"),
                (f"{part({'alg': 'RS256', 'kid': 5})}.{payload}.{signature}", "malformed"),
                (f"{part({'alg': 'RS256', 'kid': 'x' * 300})}.{payload}.{signature}", "malformed"),
                (f"{head}.{part(b'{' * 499)}.{signature}", "malformed"), (f"{head}.{part(b'[' * 3000)}.{signature}", "malformed"),
                (f"{head}.{part(_NAN)}.{signature}", "malformed"),
                (f"{head}.{part(_ENDLESS)}.{signature}", "signature"),
                (f"{head}.{part(_NO_UTF8)}.{signature}", "malformed"),
                (f"{head}.{part(_HALF)}.{signature}", "malformed"), (f"{head}.{part(_PAIR)}.{signature}", "signature"),
                (f"{head}.{part(_LONG_NUMBER)}.{signature}", "malformed"),
                ("x" * 8193, "oversized"), (".." , "malformed"), ("a.b.c", "malformed"), ("a.b.c.d.e", "malformed")):
            self.assertEqual(self.said(method, token), word, token[:80])

    def test_names_twice(self) -> None:
        """Two claims of one name mean two things to two readers: refused although the signature is good; in the header, too."""
        method = self.method()
        self.assertEqual(self.said(method, signed(b'{"sub":"ada","sub":"eve"}')), "malformed")
        self.assertEqual(self.said(method, signed(b'{"sub":"ada","a":{"b":1,"b":2}}')), "malformed")
        self.assertEqual(self.said(method, raw('{"alg":"none","alg":"RS256","kid":"r"}', b"{}", rsa(), "RS256")), "malformed")

    def test_extensions_of_the_header(self) -> None:
        """``crit`` asks for what is not there; ``b64`` would change what is signed. Both are refused with a good signature."""
        method = self.method()
        odd: list[dict[str, Any]] = [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": True}]
        for more in odd:
            self.assertEqual(self.said(method, signed(**more)), "critical_header", more)

    def test_keys_in_the_header_are_not_looked_at(self) -> None:
        """``jwk``, ``jku``, ``x5u``, ``x5c`` bring no key along: whoever signs with their own is refused."""
        method = self.method(keys=jwks(rsa()))
        own = rsa("r2")
        for more in ({"jwk": own.as_dict(private=False)}, {"jku": "https://evil.example/jwks.json"},
                     {"x5u": "https://evil.example/x"}, {"x5c": ["MIIB"]}):
            self.assertEqual(self.said(method, signed(key=own, **more)), "unknown_key")
            self.assertEqual(self.said(method, signed(key=own, kid="r", **more)), "signature")
            self.assertEqual(self.said(method, signed(**more)), "accepted")

    def test_key_ids(self) -> None:
        """An id is compared and nothing else: no path, no query. Without one, every key that fits is tried."""
        method = self.method(keys=jwks(rsa(), ec()))
        for kid in ("../../etc/passwd", "' OR 1=1 --", "r\0", "R", " r"):
            self.assertEqual(self.said(method, signed(kid=kid)), "unknown_key", kid)
        self.assertEqual(self.said(method, signed(kid=None)), "accepted")
        self.assertEqual(self.said(method, signed(key=ec(), alg="ES256", kid=None)), "accepted")
        self.assertEqual(self.said(method, signed(key=rsa("r2"), kid=None)), "signature")

    def test_signatures_of_odd_lengths(self) -> None:
        """A signature of ECDSA that is cut, doubled or all zeros is a bad one."""
        method = self.method()
        head, payload, signature = signed(key=ec(), alg="ES256").split(".")
        for other in (part(bytes(64)), part(b"x"), part(bytes(128)), part(b"\xff" * 64), signature[:43]):
            self.assertIn(self.said(method, f"{head}.{payload}.{other}"), ("signature", "malformed"))


class PlaceTests(JwtTestCase):
    """Where a token stands."""

    def test_each_place(self) -> None:
        """Header with a prefix, cookie, query parameter; and Authorization only with the right scheme."""
        method = self.method(authorization("Bearer"), header("X-Token", "jwt="), cookie("session"), parameter("access token"))
        token = signed()
        for exchange in (
                asks("/", "GET", f"authorization: BEARER {token}"), asks("/", "GET", f"x-token: jwt={token}"),
                asks("/", "GET", f"Cookie: a=b; session={token}; c=d"), asks(f"/?a=b&access%20token={token}")):
            self.assertEqual(self.verdict(method, exchange), "accepted")
        for exchange in (
                asks("/"), asks("/", "GET", f"Authorization: {token}"), asks("/", "GET", f"Authorization: Basic {token}"),
                asks("/", "GET", f"X-Token: {token}"), asks("/", "GET", f"Cookie: xsession={token}"), asks("/", "GET", "Authorization: Bearer "),
                asks(f"/?access_token={token}"), asks("/", "GET", "Authorization:")):
            self.assertEqual(self.verdict(method, exchange), "missing")

    def test_several_tokens(self) -> None:
        """Two of them, in one place or in two, are refused: an origin might read the other one."""
        method = self.method(authorization("Bearer"), cookie("session"), parameter("t"))
        token = signed()
        for exchange in (
                asks("/", "GET", f"Authorization: Bearer {token}", f"Authorization: Bearer {token}"),
                asks("/", "GET", f"Authorization: Bearer {token}", f"Cookie: session={token}"),
                asks(f"/?t={token}&%74={token}"), asks("/", "GET", f"Cookie: session={token}; session={token}")):
            verdict = method.check(exchange)
            assert isinstance(verdict, Denied)
            self.assertEqual((verdict.reason, verdict.status), ("malformed", 400))

    def test_what_goes_on(self) -> None:
        """A token in the query never does; others do unless they are to be dropped. Nothing else changes."""
        places = authorization("Bearer"), cookie("session"), parameter("t")
        for drop in (False, True):
            method = self.method(*places, drop=drop)
            assert method.take_out is not None
            exchange = asks("/a?x=1&t=abc&y=2", "GET", "Authorization: Bearer abc", "Cookie: a=b; session=abc; c=d", "Cookie: session=x",
                            "Accept: */*")
            method.take_out(exchange.request)
            head = exchange.request
            self.assertEqual((head.forward, head.query), (b"/a?x=1&y=2", b"x=1&y=2"))
            left = [(b"cookie", b"a=b; c=d"), (b"accept", b"*/*")]
            if not drop:
                left = [(b"authorization", b"Bearer abc"), (b"cookie", b"a=b; session=abc; c=d"), (b"cookie", b"session=x"), (b"accept", b"*/*")]
            self.assertEqual(head.fields, left)
        only = asks("/a?t=abc")
        parameter("t").take_out(only.request)
        self.assertEqual((only.request.forward, only.request.query), (b"/a", None))


class MemoryTests(JwtTestCase):
    """What is remembered."""

    def counted(self, method: Jwt) -> list[bytes]:
        """Which tokens are worked on anew from now on."""
        worked: list[bytes] = []
        judge = method._judge

        def counting(data: bytes, now: float) -> Accepted | Denied:
            worked.append(data)
            return judge(data, now)

        self.patch(method, "_judge", counting)
        return worked

    def test_a_good_token_is_verified_once(self) -> None:
        """And its end is looked at every time: it is refused at the second at which it expires."""
        method = self.method(leeway_s=0.0)
        worked = self.counted(method)
        exchange = asks("/", "GET", f"Authorization: Bearer {signed()}")
        for _ in range(5):
            self.assertEqual(_word(method.check(exchange)), "accepted")
        self.assertEqual(len(worked), 1)
        self.wall.now = NOW + 599.9
        self.assertEqual(_word(method.check(exchange)), "accepted")
        self.wall.now = NOW + 600
        self.assertEqual(_word(method.check(exchange)), "expired")
        self.wall.now = NOW - 3600          # somebody has set the clock back
        self.assertEqual(_word(method.check(exchange)), "not_yet_valid")

    def test_a_bad_token_is_remembered_for_a_moment(self) -> None:
        """One that is not valid yet is accepted soon after its time has come."""
        method = self.method(leeway_s=0.0)
        worked = self.counted(method)
        exchange = asks("/", "GET", f"Authorization: Bearer {signed({'nbf': NOW + 1})}")
        self.assertEqual([_word(method.check(exchange)) for _ in range(3)], ["not_yet_valid"] * 3)
        self.assertEqual(len(worked), 1)
        self.wall.now = NOW + REFUSED_S
        self.assertEqual(_word(method.check(exchange)), "accepted")

    def test_another_key_set_forgets_everything(self) -> None:
        """A token of a key that was taken back is refused at once."""
        method = self.method()
        exchange = asks("/", "GET", f"Authorization: Bearer {signed()}")
        self.assertEqual(_word(method.check(exchange)), "accepted")
        self.keys.install(KeySet.parse(jwks(ec()), secrets=False))
        self.assertEqual(_word(method.check(exchange)), "unknown_key")

    def test_tokens_are_not_kept(self) -> None:
        """The memory has hashes; what is proven shows no token either."""
        method = self.method()
        token = signed()
        exchange = asks("/", "GET", f"Authorization: Bearer {token}")
        verdict = method.check(exchange)
        assert isinstance(verdict, Accepted)
        self.assertEqual(list(method._known.young), [sha256(token.encode()).digest()])
        self.assertNotIn(token.split(".")[2], repr(verdict.user) + repr(verdict.proof))

    def test_it_is_bounded(self) -> None:
        """A flood of bad tokens neither fills the memory nor drives out for long what is used."""
        method = self.method()
        exchange = asks("/", "GET", f"Authorization: Bearer {signed()}")
        method.check(exchange)
        worked = self.counted(method)
        for number in range(2 * MAX_REMEMBERED + 10):
            method.check(asks("/", "GET", f"Authorization: Bearer {number}"))
            if number % 1000 == 0:
                self.assertEqual(_word(method.check(exchange)), "accepted")
        self.assertLessEqual(len(method._known), 2 * MAX_REMEMBERED)
        self.assertNotIn(signed().encode(), worked[1:])


class RefreshTests(JwtTestCase):
    """Keys that stand elsewhere."""

    def test_an_unknown_key_asks_for_the_keys_anew(self) -> None:
        """The request waits for them; the token of the new key is then accepted, an invented one refused."""
        method = self.method(keys=jwks(rsa()))
        waiting: list[Deferred[None]] = []

        def refresh() -> Deferred[None] | None:
            waiting.append(Deferred())
            return waiting[-1]

        self.keys.refresh = refresh
        first = method.check(asks("/", "GET", f"Authorization: Bearer {signed(key=rsa('r2'))}"))
        second = method.check(asks("/", "GET", f"Authorization: Bearer {signed(key=rsa('r2'), kid='r3')}"))
        assert isinstance(first, Deferred) and isinstance(second, Deferred)
        self.keys.install(KeySet.parse(jwks(rsa(), rsa("r2")), secrets=False))
        for each in waiting:
            each.callback(None)
        self.assertEqual([_word(self.successResultOf(one)) for one in (first, second)], ["accepted", "unknown_key"])

    def test_bad_signatures_ask_nobody(self) -> None:
        """Neither do other algorithms: only an id that is not known does."""
        method = self.method(keys=jwks(rsa()))
        self.keys.refresh = lambda: self.fail("asked")
        self.assertEqual(self.said(method, signed(key=rsa("r2"), kid="r")), "signature")
        self.assertEqual(self.said(method, signed(key=SECRET, alg="HS256", kid="r")), "algorithm")
        self.assertEqual(self.said(method, "x.y.z"), "malformed")

    def test_no_keys_at_all(self) -> None:
        """Nobody can be judged: 503, which is not remembered; explain says what it does not know."""
        source = KeySource("https://id.example/keys")
        method = Jwt(JwtTerms(), source, (authorization("Bearer"),), self.wall, "shop")
        exchange = asks("/", "GET", f"Authorization: Bearer {signed()}")
        verdict = method.check(exchange)
        assert isinstance(verdict, Denied)
        self.assertEqual((verdict.reason, verdict.status), ("no_keys", 503))
        said, unknown = method.rehearse(exchange)
        self.assertIsInstance(said, Accepted)
        self.assertIn("the keys of https://id.example/keys are not here", unknown)
        self.assertEqual(_word(method.rehearse(asks("/", "GET", f"Authorization: Bearer {signed({'exp': 1})}"))[0]), "expired")
        source.install(KeySet.parse(jwks(rsa()), secrets=False))
        self.assertEqual(_word(method.check(exchange)), "accepted")


class KeySetTests(SynchronousTestCase):
    """Which keys are used."""

    def refused(self, data: bytes, secrets: bool = True) -> str:
        """Why a set has none."""
        return str(self.assertRaises(ValueError, KeySet.parse, data, secrets=secrets))

    def test_keys_that_are_not_used(self) -> None:
        """Each says why; the others of the set serve."""
        weak, odd = short_rsa(), {**rsa().as_dict(private=False), "kid": "z"}
        for one, word in (
                (weak, "1024 bits"), ({**odd, "use": "enc"}, "not for signatures"), ({**odd, "key_ops": ["encrypt"]}, "not for signatures"),
                ({**odd, "alg": "RSA-OAEP"}, "another algorithm"), ({**odd, "alg": "none"}, "another algorithm"),
                ({**odd, "alg": "HS256"}, "another algorithm"), ({"kty": "oct", "k": "c2hvcnQ"}, "less than 32 bytes"),
                ({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}, "curve"), ({"kty": "OKP", "crv": "X25519", "x": "AA"}, "curve"),
                ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "no valid key"), ({"kty": "x"}, "not known"), ("x", "no JSON object"),
                ({**odd, "n": 5}, "no valid key"), ({**odd, "e": "AAAA"}, "no valid key"), ({**odd, "kid": 5}, "id")):
            found = KeySet.parse(json.dumps({"keys": [one, ec().as_dict(private=False)]}).encode(), secrets=True)
            self.assertEqual(len(found.keys), 1, one)
            self.assertIn(word, found.skipped[0])

    def test_secrets_from_a_url(self) -> None:
        """A secret that everybody can fetch is none, and signs no token."""
        self.assertIn("no key that can be used", self.refused(jwks(SECRET), secrets=False))
        self.assertEqual(len(KeySet.parse(jwks(SECRET, rsa()), secrets=False).keys), 1)

    def test_private_keys_are_not_taken_in(self) -> None:
        """Somebody has put a private key into the set: its public part is used, and no more is kept."""
        found = KeySet.parse(json.dumps({"keys": [rsa().as_dict(private=True)]}).encode(), secrets=False)
        self.assertFalse(found.keys[0].key.is_private)

    def test_what_is_no_set(self) -> None:
        """Each is refused in words that show nothing of it."""
        for data, word in ((b"", "JSON"), (b"{", "JSON"), (b"[]", "no list"), (b'{"keys": {}}', "no list"), (b'{"keys": []}', "no key"),
                           (b'{"keys": [], "keys": []}', "twice"), (b"\xff", "UTF-8"), (b" " * ((1 << 20) + 1), "larger"),
                           (b"[" * 100000, "nested"), (json.dumps({"keys": [{}] * 101}).encode(), "101 keys")):
            self.assertIn(word, self.refused(data))

    def test_a_single_key(self) -> None:
        """It need not stand in a set."""
        self.assertEqual(len(KeySet.parse(json.dumps(ec().as_dict(private=False)).encode(), secrets=False).keys), 1)
