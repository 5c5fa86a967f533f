"""The stand-ins for Google Cloud DNS and Azure DNS answer the vendors' own clients as the vendors' servers would."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.clouds import AzureCloud, Cloud, GoogleCloud
from tests.servers import clouds_python

_PEER: Final = Path(__file__).with_name("clouds_peer.py")


class VendorTests(TestCase):
    """`tests.clouds`."""

    timeout = 60

    async def seen(self, which: str, cloud: Cloud) -> list[Any]:
        """What the vendor's client has seen."""
        cloud.authorized = lambda said: True        # type: ignore[method-assign]     # it is not its tokens that are looked at here
        ran = await deferToThread(subprocess.run, [clouds_python(), str(_PEER), which, cloud.url], capture_output=True, text=True, timeout=50)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        result: list[Any] = json.loads(ran.stdout)
        return result

    async def test_google(self) -> None:
        """A change is made whole; what exists, is not there, or is other than it was said to be, is refused as such."""
        cloud = GoogleCloud(self)
        made, exists, other, absent, listed, gone = await self.seen("google", cloud)
        self.assertEqual((made, gone), ("pending", "pending"))
        self.assertEqual([exists[0], other[0], absent[0]], [409, 412, 404])
        self.assertIn("'entity.change.additions[0]' named 'a.apps.example. (A)' already exists", exists[1])
        self.assertEqual(listed, [["_voltgw.a.apps.example.", "TXT", 30, ['"x y"']], ["a.apps.example.", "A", 30, ["192.0.2.1"]]])
        self.assertEqual([key for key in cloud.sets if key[1] != "SOA"], [("_voltgw.a.apps.example.", "TXT")])

    async def test_azure(self) -> None:
        """A record set is made where there is none, and changed where it is as it was found."""
        cloud = AzureCloud(self)
        made, exists, other, changed, listed = await self.seen("azure", cloud)
        mark = {"voltgw": "heritage=voltgw owner=me"}
        self.assertEqual((made, changed), (["made", "a", ["192.0.2.1"], mark], ["made", "a", ["192.0.2.4"], mark]))
        self.assertEqual([exists[0], other[0]], [412, 412])
        self.assertEqual(listed, [["@", "SOA", 3600], ["a", "A", 30]])
        self.assertEqual(cloud.addresses("a"), [])
