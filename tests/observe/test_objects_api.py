"""Objects in the published shape, as a program gets them over HTTP."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from tests.cli.running import run
from tests.observe.test_admin import AdminCase
from voltgw.app.published import Published
from voltgw.config.load import load_text

EXAMPLES = Path(__file__).parents[2] / "etc" / "examples"

class ObjectsTests(AdminCase):
    """``/api/config/namespaces``."""

    def serve_objects(self, name: str) -> tuple[str, Any]:
        """Serve the objects of an example: the address, and the configuration."""
        config = load_text((EXAMPLES / name).read_text(encoding="utf-8"), folder=str(EXAMPLES))
        self.view.objects = Published(config)
        return self.serve().addresses[0], config

    async def test_objects_load_again(self) -> None:
        """Everything that no view has made, fetched one by one and put in a file, is the same configuration."""
        for name in ("views.yaml", "clusters.yaml", "subsets.yaml", "shortest.yaml"):
            address, config = self.serve_objects(name)
            fetched = []
            for namespace in [each["name"] for each in (await self.ask(address, "/api/web/namespaces")).json["items"]]:
                for kind, objects in config.objects.items():
                    if not objects:
                        continue
                    path = f"/api/config/namespaces/{namespace}/{kind}s"
                    listed = (await self.ask(address, path)).json["items"]
                    self.assertEqual([each["name"] for each in listed], [found for at, found in objects if at == namespace])
                    for item in listed:
                        if item["owner_view"] is None:
                            fetched.append((await self.ask(address, f"{path}/{item['name']}")).json)
            self.assertTrue(fetched)
            folder = Path(self.mktemp())
            folder.mkdir()
            file = folder / "again.yaml"
            text = json.dumps({"gateway": {"port_map": {"80": 8080}}, "objects": fetched})
            file.write_text(text, encoding="utf-8")
            done = run(["check", str(file)])
            self.assertEqual(done.status, 0, (name, done.out))
            again = load_text(text)
            for kind, objects in config.objects.items():
                for key, each in objects.items():
                    found = again.objects[kind][key]
                    self.assertEqual((found.spec, found.metadata.labels), (each.spec, each.metadata.labels), (name, kind, key))

    async def test_lists(self) -> None:
        """What made an object is said; specs come when they are asked for."""
        address, _ = self.serve_objects("views.yaml")
        path = "/api/config/namespaces/shop/virtual_hosts"
        (item, *_) = (await self.ask(address, path)).json["items"]
        owner = item["owner_view"]
        self.assertEqual((owner["kind"], owner["namespace"], owner["name"]), ("http_loadbalancer", "shop", "shop"))
        view = (await self.ask(address, "/api/config/namespaces/shop/http_loadbalancers/shop")).json
        self.assertEqual(view["system_metadata"], {"uid": owner["uid"], "namespace": "shop", "owner_view": None})
        self.assertEqual((view["metadata"], view["spec"]["domains"]), ({"name": "shop", "namespace": "shop"}, ["shop.example.com"]))
        self.assertNotIn("get_spec", item)
        (item, *_) = (await self.ask(address, f"{path}?report_fields")).json["items"]
        self.assertEqual(item["get_spec"]["domains"], ["shop.example.com"])

    async def test_what_is_not_there(self) -> None:
        """404 with words; nothing may be written."""
        address, _ = self.serve_objects("views.yaml")
        for path in ("", "shop", "shop/virtual_hosts/none", "shop/nothings", "shop/virtual_host", "shop/a/b/c", "shop//x", "%ff/x"):
            answer = await self.ask(address, f"/api/config/namespaces/{path}")
            self.assertEqual(answer.status, 404, path)
            self.assertTrue(answer.json["error"])
        for method in ("POST", "PUT", "DELETE"):
            self.assertEqual((await self.ask(address, "/api/config/namespaces/shop/virtual_hosts", method)).status, 405)
        self.assertEqual((await self.ask(address, "/api/config/namespaces/none/virtual_hosts")).json, {"items": []})

    async def test_secrets(self) -> None:
        """They are stars."""
        key = b64encode(b"very-secret-key").decode()
        self.view.objects = Published(load_text(
            "objects:\n- kind: discovery\n  metadata: {name: c, namespace: system}\n  spec:\n    where: {}\n    discovery_consul:\n"
            "      access_info:\n        connection_info: {api_server: 'c.example:8500'}\n        http_basic_auth_info:\n"
            f"          {{user_name: u, passwd_url: {{clear_secret_info: {{url: 'string:///{key}'}}}}}}\n"))
        address = self.serve().addresses[0]
        for path in ("/api/config/namespaces/system/discoverys/c", "/api/config/namespaces/system/discoverys?report_fields"):
            answer = await self.ask(address, path)
            self.assertEqual(answer.status, 200)
            self.assertIn(b"***", answer.body)
            self.assertNotIn(key.encode(), answer.body)
            self.assertNotIn(b"very-secret-key", answer.body)
