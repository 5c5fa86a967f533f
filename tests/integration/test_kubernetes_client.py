"""The API server of these tests answers Kubernetes' own client of Python as a cluster would."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.api_server import ApiServer
from tests.servers import kubernetes_python

_PEER: Final = Path(__file__).with_name("kubernetes_peer.py")


class ClientTests(SynchronousTestCase):
    """`tests.api_server`."""

    def test_a_life(self) -> None:
        """Lists in pages and by labels; a service made, changed and taken out, and what is refused; the watch that tells of it."""
        api = ApiServer().start()
        self.addCleanup(api.stop)
        for name, namespace in (("shop", "default"), ("cart", "default"), ("shop", "other")):
            api.service(name, namespace, labels={"app": name})
        api.slice("shop", ("10.0.0.1", True), ("10.0.0.2", False))
        ran = subprocess.run(
            [kubernetes_python(), str(_PEER), f"http://127.0.0.1:{api.port}"], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        pages, chosen, slices, made, changed, gone, events = json.loads(ran.stdout)
        self.assertEqual(pages, [2, ["default/cart", "default/shop", "other/shop"]])
        self.assertEqual(chosen, ["shop"])
        self.assertEqual(slices, [[["10.0.0.1"], True], [["10.0.0.2"], False]])
        self.assertEqual(made, ["new", 409])
        self.assertEqual(changed, [{"app": "other"}, 409])
        self.assertEqual(gone, 404)
        self.assertEqual(events, [["ADDED", "new"], ["MODIFIED", "new"], ["DELETED", "new"]])
