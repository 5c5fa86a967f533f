"""Google Cloud DNS and Azure DNS, in the shape of stand-ins that follow their published APIs."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.clouds import AzureCloud, Cloud, GoogleCloud
from tests.control.publish.making import wanted
from voltgw.control.publish import azure_dns, google_dns
from voltgw.control.publish.api import Api
from voltgw.control.publish.azure_dns import METADATA_FIELDS, AzureDnsRegistrar
from voltgw.control.publish.bearer import Bearer, ClientSecret, Metadata, ServiceAccount
from voltgw.control.publish.google_dns import SCOPE, GoogleDnsRegistrar
from voltgw.control.publish.names import FREE, Act, Change, Refused, Wanted, decide
from voltgw.control.publish.registrar import RegistryError

SHOP, STAR = "shop.apps.example", "*.w.apps.example"
WALL = 1_700_000_000.0


class CloudCase(TestCase):
    """What both have to do."""

    timeout = 20

    async def changed(self, registrar: Any, *wants: Wanted | str) -> list[Refused | None]:
        """What a publisher does: look, decide, write."""
        names = [each if isinstance(each, str) else each.name for each in wants]
        held = (await registrar.observe(names)).held
        outcomes: list[Refused | None] = []
        changes = []
        for name, each in zip(names, wants, strict=True):
            want = None if isinstance(each, str) else each
            decided = decide(name, want, None if want is None else registrar.content(want), held.get(name, FREE), registrar.owner)
            if isinstance(decided, Change):
                changes.append(decided)
            elif decided is not None:
                outcomes.append(decided)
        return [*outcomes, *await registrar.apply(changes)]

    async def why(self, registrar: Any) -> RegistryError:
        """Why it cannot be looked at."""
        try:
            await registrar.observe([])
        except RegistryError as error:
            return error
        raise AssertionError("it was done")

    async def follows_its_tokens(self, cloud: Cloud, registrar: Any) -> None:
        """One token serves until shortly before it expires; one that is not taken is replaced in the next round."""
        await registrar.observe([])
        await registrar.observe([])
        self.assertEqual(len(cloud.tokens), 1)
        self.now += 3600 - 100
        await registrar.observe([])
        self.assertEqual(len(cloud.tokens), 2)
        cloud.valid.clear()
        error = await self.why(registrar)
        self.assertIn("the credentials are not taken", str(error))
        self.assertTrue(error.credentials)
        await registrar.observe([])
        self.assertEqual(len(cloud.tokens), 3)

    async def is_told_to_wait(self, cloud: Cloud, registrar: Any) -> None:
        """Too many requests, and one that asks for a pause."""
        for status, fields, pause in ((429, {"retry-after": "31"}, 31.0), (503, {}, 5.0)):
            cloud.instead = [(status, {"error": {"message": "slow down"}}, fields)]
            error = await self.why(registrar)
            self.assertEqual((error.retry_after_s, "it wants fewer requests" in str(error)), (pause, True))
        for said, words in ((["x"], "cannot be read"), ({"value": [{}], "rrsets": [{}]}, "cannot be read")):
            cloud.instead = [(200, said, {})]
            self.assertIn(words, str(await self.why(registrar)))

    def setUp(self) -> None:
        self.now = WALL
        self.patch(google_dns, "PACE_S", 0.0)
        self.patch(azure_dns, "PACE_S", 0.0)


class GoogleTests(CloudCase):
    """`GoogleDnsRegistrar`."""

    def registrar(self, cloud: GoogleCloud, owner: str = "me", key: bytes = b"", managed: str = "apps", zone: str = "apps.example") -> GoogleDnsRegistrar:
        """One for the zone."""
        bearer = Bearer(Api(reactor, reactor, plain=True), lambda: self.now, ServiceAccount(key or cloud.key_file(), SCOPE))
        made = GoogleDnsRegistrar(Api(reactor, reactor, plain=True), reactor, bearer, zone, "shop", managed, 30, owner, cloud.url)
        self.addCleanup(made.close)
        return made

    async def test_a_life(self) -> None:
        """Names are made, changed, emptied and taken out, with their marks; what is beside them stays."""
        cloud = GoogleCloud(self)
        cloud.add("mail.apps.example.", "A", 60, ["192.0.2.25"])
        registrar = self.registrar(cloud)
        before = dict(cloud.sets)
        self.assertEqual(await self.changed(registrar, wanted(SHOP, "192.0.2.1", "2001:db8::1"), wanted(STAR, "192.0.2.3")), [None, None])
        self.assertEqual(cloud.sets[f"{SHOP}.", "AAAA"]["rrdatas"], ["2001:db8::1"])
        self.assertEqual(cloud.sets["_voltgw._wildcard.w.apps.example.", "TXT"]["rrdatas"], ['"heritage=voltgw owner=me"'])
        self.assertEqual(await self.changed(registrar, wanted(SHOP, "192.0.2.1", "2001:db8::1")), [])
        self.assertEqual(await self.changed(registrar, wanted(SHOP, "192.0.2.9"), wanted(STAR)), [None, None])
        self.assertEqual(cloud.sets[f"{SHOP}.", "A"]["rrdatas"], ["192.0.2.9"])
        self.assertNotIn((f"{SHOP}.", "AAAA"), cloud.sets)
        self.assertNotIn((f"{STAR}.", "A"), cloud.sets)
        self.assertEqual(await self.changed(registrar, SHOP, STAR), [None, None])
        self.assertEqual(cloud.sets, before)

    async def test_what_is_not_ours(self) -> None:
        """Neither what has no mark, nor what has another's, nor what a routing policy has made is written."""
        cloud = GoogleCloud(self)
        cloud.add("mail.apps.example.", "A", 60, ["192.0.2.25"])
        await self.changed(self.registrar(cloud, "they"), wanted("their.apps.example", "192.0.2.7"))
        registrar = self.registrar(cloud)
        await self.changed(registrar, wanted(SHOP, "192.0.2.1"))
        cloud.add(f"{SHOP}.", "A", 30, [], routingPolicy={"wrr": {}})
        before = dict(cloud.sets)
        for name, words in (("mail.apps.example", "without our mark: 192.0.2.25"), ("their.apps.example", "owner 'they'"),
                            (SHOP, "its A is made by a routing policy")):
            (outcome,) = await self.changed(registrar, wanted(name, "192.0.2.1"))
            assert outcome is not None
            self.assertIn(words, outcome.why)
        self.assertEqual(cloud.sets, before)
        await self.changed(registrar, SHOP)
        self.assertEqual(([key for key in before if key not in cloud.sets]), [(f"_voltgw.{SHOP}.", "TXT")])

    async def test_a_change_in_between(self) -> None:
        """It stops the change of that name, and of no other."""
        cloud = GoogleCloud(self)
        registrar = self.registrar(cloud)
        names = [f"n{count}.apps.example" for count in range(5)]
        await self.changed(registrar, *(wanted(name, "192.0.2.1") for name in names))
        held = (await registrar.observe(names)).held
        cloud.add("n2.apps.example.", "A", 30, ["203.0.113.2"])
        del cloud.sets["_voltgw.n4.apps.example.", "TXT"]
        outcomes = await registrar.apply([Change(Act.REPLACE, name, wanted(name, "192.0.2.2"), held[name]) for name in names])
        self.assertEqual([each is not None and each.foreign for each in outcomes], [False, False, True, False, True])
        self.assertEqual([cloud.sets[f"{name}.", "A"]["rrdatas"][0] for name in names],
                         ["192.0.2.2", "192.0.2.2", "203.0.113.2", "192.0.2.2", "192.0.2.1"])
        (outcome,) = await registrar.apply([Change(Act.CREATE, "a.example", wanted("a.example", "192.0.2.1"), FREE)])
        assert outcome is not None
        self.assertFalse(outcome.foreign)

    async def test_pages_and_other_zones(self) -> None:
        """All pages are read; a zone of another name, and one that is not there, are said."""
        cloud = GoogleCloud(self)
        registrar = self.registrar(cloud)
        await self.changed(registrar, *(wanted(f"n{count}.apps.example", "192.0.2.1") for count in range(20)))
        cloud.page = 7
        self.assertEqual(len((await registrar.observe([])).held), 20)
        self.assertIn("the managed zone is apps.example", str(await self.why(self.registrar(cloud, zone="other.example"))))
        self.assertIn("it answers 404", str(await self.why(self.registrar(cloud, managed="nobody"))))

    async def test_tokens(self) -> None:
        """See `follows_its_tokens`; a key that is not the account's is refused with Google's words."""
        cloud = GoogleCloud(self)
        await self.follows_its_tokens(cloud, self.registrar(cloud))
        other = cloud.key_file(f"{cloud.url}/other/token")
        error = await self.why(self.registrar(cloud, key=other))
        self.assertIn("no token can be had: 400 invalid_grant: not for us", str(error))
        cloud.instead = [(403, {"error": {"code": 403, "message": "Forbidden", "status": "PERMISSION_DENIED"}}, {})]
        self.assertIn("do not allow that: PERMISSION_DENIED: Forbidden", str(await self.why(self.registrar(cloud))))
        cloud.instead = [(403, {"error": {"code": 403, "message": "Rate Limit Exceeded"}}, {})]
        self.assertEqual((await self.why(self.registrar(cloud))).retry_after_s, 5.0)
        for key in (b"{}", b"nothing", b'{"client_email": "a", "token_uri": "b", "private_key": "c"}'):
            self.assertRaises(ValueError, ServiceAccount, key, SCOPE)

    async def test_it_wants_fewer_requests(self) -> None:
        """See `is_told_to_wait`."""
        cloud = GoogleCloud(self)
        await self.is_told_to_wait(cloud, self.registrar(cloud))


class AzureTests(CloudCase):
    """`AzureDnsRegistrar`."""

    def registrar(self, cloud: AzureCloud, owner: str = "me", secret: str = "s+/ cret", group: str = "dns") -> AzureDnsRegistrar:
        """One for the zone."""
        grant = ClientSecret(f"{cloud.url}/tenant/oauth2/v2.0/token", "app", secret, f"{cloud.url}/.default")
        bearer = Bearer(Api(reactor, reactor, plain=True), lambda: self.now, grant)
        made = AzureDnsRegistrar(Api(reactor, reactor, plain=True), reactor, bearer, "apps.example", "sub", group, 30, owner, cloud.url)
        self.addCleanup(made.close)
        return made

    async def test_a_life(self) -> None:
        """Names are made, changed, emptied and taken out, with their marks; so are a wildcard and the zone's own name."""
        cloud = AzureCloud(self)
        cloud.add("mail", "A", {"TTL": 60, "ARecords": [{"ipv4Address": "192.0.2.25"}]})
        registrar, before = self.registrar(cloud), set(cloud.sets)
        self.assertEqual(await self.changed(registrar, wanted(SHOP, "192.0.2.1", "2001:db8::1"), wanted(STAR, "192.0.2.3"),
                                            wanted("apps.example", "192.0.2.4")), [None] * 3)
        self.assertEqual(cloud.sets["shop", "AAAA"].properties["AAAARecords"], [{"ipv6Address": "2001:db8::1"}])
        self.assertEqual(cloud.sets["_voltgw._wildcard.w", "TXT"].properties["TXTRecords"], [{"value": ["heritage=voltgw owner=me"]}])
        self.assertEqual((cloud.addresses("*.w"), cloud.addresses("@")), (["192.0.2.3"], ["192.0.2.4"]))
        self.assertEqual(await self.changed(registrar, wanted(SHOP, "192.0.2.1", "2001:db8::1")), [])
        self.assertEqual(await self.changed(registrar, wanted(SHOP, "192.0.2.9"), wanted(STAR)), [None, None])
        self.assertEqual((cloud.addresses("shop"), cloud.addresses("*.w"), ("shop", "AAAA") in cloud.sets), (["192.0.2.9"], [], False))
        self.assertEqual(await self.changed(registrar, SHOP, STAR, "apps.example"), [None] * 3)
        self.assertEqual(set(cloud.sets), before)

    async def test_what_is_not_ours(self) -> None:
        """Neither what has no mark, nor another's, nor a record set that somebody has put in place of ours."""
        cloud = AzureCloud(self)
        cloud.add("mail", "A", {"TTL": 60, "ARecords": [{"ipv4Address": "192.0.2.25"}]})
        await self.changed(self.registrar(cloud, "they"), wanted("their.apps.example", "192.0.2.7"))
        registrar = self.registrar(cloud)
        await self.changed(registrar, wanted(SHOP, "192.0.2.1"), wanted("a.apps.example", "192.0.2.1"))
        cloud.add("shop", "A", {"TTL": 30, "ARecords": [{"ipv4Address": "203.0.113.1"}]})
        cloud.add("a", "A", {"TTL": 30, "targetResource": {"id": "/x"}, "metadata": {"voltgw": "heritage=voltgw owner=me"}})
        for name, words in (("mail.apps.example", "without our mark: 192.0.2.25"), ("their.apps.example", "owner 'they'"),
                            (SHOP, "its A is not said to be ours (203.0.113.1)"), ("a.apps.example", "made of another resource")):
            (outcome,) = await self.changed(registrar, wanted(name, "192.0.2.1"))
            assert outcome is not None
            self.assertIn(words, outcome.why)
        self.assertEqual(cloud.addresses("shop"), ["203.0.113.1"])
        await self.changed(registrar, SHOP)
        self.assertEqual((cloud.addresses("shop"), ("_voltgw.shop", "TXT") in cloud.sets), (["203.0.113.1"], False))

    async def test_a_change_in_between(self) -> None:
        """It stops the change; a mark that was made for a name that is another's after all is taken away again."""
        cloud = AzureCloud(self)
        registrar = self.registrar(cloud)

        def theirs(name: str, kind: str) -> None:
            if kind == "A":
                cloud.before_put = None
                cloud.add(name, kind, {"TTL": 60, "ARecords": [{"ipv4Address": "203.0.113.1"}]})

        cloud.before_put = theirs
        (outcome,) = await self.changed(registrar, wanted(SHOP, "192.0.2.1"))
        self.assertTrue(outcome is not None and outcome.foreign and "it is not as it was found" in outcome.why)
        self.assertEqual((cloud.addresses("shop"), ("_voltgw.shop", "TXT") in cloud.sets), (["203.0.113.1"], False))
        await self.changed(registrar, wanted("b.apps.example", "192.0.2.1"))
        cloud.before_put = theirs
        (outcome,) = await self.changed(registrar, wanted("b.apps.example", "192.0.2.2"))
        self.assertTrue(outcome is not None and outcome.foreign)
        self.assertEqual((cloud.addresses("b"), ("_voltgw.b", "TXT") in cloud.sets), (["203.0.113.1"], True))

    async def test_pages(self) -> None:
        """All pages are read; a next page at another host is not asked for."""
        cloud = AzureCloud(self)
        registrar = self.registrar(cloud)
        await self.changed(registrar, *(wanted(f"n{count}.apps.example", "192.0.2.1") for count in range(5)))
        cloud.page = 3
        self.assertEqual(len((await registrar.observe([])).held), 5)
        cloud.instead = [(200, {"value": [], "nextLink": "https://elsewhere.example/all"}, {})]
        self.assertIn("its list goes on at another host", str(await self.why(registrar)))
        self.assertIn("it answers 404 ResourceNotFound", str(await self.why(self.registrar(cloud, group="other"))))

    async def test_tokens(self) -> None:
        """See `follows_its_tokens`; a wrong secret is refused with the words of Entra; an instance asks its metadata service."""
        cloud = AzureCloud(self)
        await self.follows_its_tokens(cloud, self.registrar(cloud))
        self.assertIn("no token can be had: 400 invalid_grant: AADSTS7000215", str(await self.why(self.registrar(cloud, secret="x"))))
        cloud.instead = [(403, {"error": {"code": "AuthorizationFailed", "message": "The client does not have authorization"}}, {})]
        self.assertIn("do not allow that: AuthorizationFailed", str(await self.why(self.registrar(cloud))))
        bearer = Bearer(Api(reactor, reactor, plain=True), lambda: self.now, Metadata(f"{cloud.url}/metadata/token", METADATA_FIELDS))
        self.assertIn((await bearer.fields())["authorization"].removeprefix("Bearer "), cloud.valid)

    async def test_it_wants_fewer_requests(self) -> None:
        """See `is_told_to_wait`."""
        cloud = AzureCloud(self)
        await self.is_told_to_wait(cloud, self.registrar(cloud))
