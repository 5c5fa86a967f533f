"""The admin interface in real browsers: what an operator does there, and what pages of others try."""

from __future__ import annotations

import http.server
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.browser import Browser
from tests.integration.gateway import Gateway, ask, free_port
from tests.servers import require

TOKEN: Final = "0123456789abcdef0123456789abcdef"
_EVIL: Final = "evil.example"


class BrowserCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A gateway with two generations, one endpoint that is down, and some traffic."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "token").write_text(TOKEN + "\n", encoding="ascii")
        self.listen = free_port()
        self.config = f"""
gateway:
  data_dir: {folder}/data
  admin: {{port: ADMIN, tokens: [{{name: deploy, token: "file:{folder}/token", role: operate}}]}}
load_balancers:
- name: shop
  listen: 127.0.0.1:{self.listen}
  domains: [shop.example.com]
  origins: ["127.0.0.1:9"]
  health_check: {{path: /, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1}}
"""
        self.gateway = Gateway(self, self.config)
        self.gateway.wait_ready()
        self.gateway.write(self.config.replace("domains: [shop.example.com]", "domains: [shop.example.com, new.example.com]"))
        self.gateway.reload()
        self.at = f"http://127.0.0.1:{self.gateway.admin_port}"

    def generation(self) -> int:
        """What serves now."""
        return int(self.gateway.admin("/generations").json["current"])

    def logs_in(self, browser: Browser) -> None:
        """Answer the browser's question for a name and a password, as its user would."""
        browser.go(f"http://voltgw:{TOKEN}@127.0.0.1:{self.gateway.admin_port}/login")


class OperatorTests(BrowserCase):
    """In Chromium, with scripts; in w3m, without."""

    def reads_as_text(self) -> None:
        """All there is to read is read without scripts, styles and colours."""
        w3m = require("w3m")

        def text(path: str) -> str:
            done = subprocess.run([w3m, "-dump", "-cols", "400", "-T", "text/html"], check=True, capture_output=True, timeout=20,
                                  input=ask(self.gateway.admin_port, path, headers={"Accept": "text/html"}).body)
            return done.stdout.decode("utf-8", "replace")

        self.assertRegex(text("/clusters"), r"127\.0\.0\.1:9 +unhealthy +.*Connection refused")
        self.assertRegex(text("/virtual_hosts"), r"default/shop +HTTP_PROXY .*(?s:.)*shop/0 to default/shop requests: 1")
        self.assertIn("ready", text("/"))
        self.assertIn("domain 'shop.example.com'", text("/explain?url=http://shop.example.com/"))

    def test_a_day(self) -> None:
        """Look, see why, log in, roll back by a button; pages stay fresh by themselves and nothing breaks the policy."""
        browser = Browser()
        self.addCleanup(browser.close)
        browser.go(f"{self.at}/")
        self.assertIn("ready", browser.text())
        self.assertEqual(ask(self.listen, "/cart", host="shop.example.com").status, 503)
        browser.run("document.dispatchEvent(new Event('visibilitychange'))")       # as if somebody came back to it
        browser.until("document.querySelector('main').innerText.match(/\\b1\\s+requests?/)")

        for path, word in (("/clusters", "Connection refused"), ("/virtual_hosts", "new.example.com"), ("/listeners", str(self.listen)),
                           ("/events", "reload.applied"), ("/recent", "shop.example.com"), ("/config", "voltgw.yaml"),
                           ("/rollouts", "none"), ("/names", ""), ("/certificates", ""), ("/networks", ""), ("/logs", "")):
            browser.go(self.at + path)
            self.assertIn(word, browser.text(), path)
            self.assertEqual(browser.run("document.querySelectorAll('table th:not([scope])').length"), 0, path)
            self.assertEqual(browser.run("[...document.querySelectorAll('input, select, textarea')].filter(e => !e.labels.length).length"),
                             0, path)
        browser.go(f"{self.at}/explain")
        browser.run("document.querySelector('[name=url]').value = 'http://shop.example.com/<b>cart'")
        browser.leave("document.querySelector('form').requestSubmit()")
        self.assertIn("503", browser.text())
        self.assertIn("<b>cart", browser.text())
        self.assertEqual(browser.complaints(), [])

        browser.go(f"{self.at}/generations")
        self.assertFalse(browser.run("!!document.querySelector('form[method=post]')"), "buttons are for who may operate")
        self.logs_in(browser)
        browser.go(f"{self.at}/generations")
        self.assertEqual(self.generation(), 2)
        browser.leave("document.querySelector('form[method=post] button').click()")
        self.assertEqual(browser.run("location.pathname"), "/generations")
        self.assertEqual(self.generation(), 1)
        self.assertIn("rolled back", browser.text())
        said = self.gateway.admin("/events?kind=admin.act").json["events"]
        self.assertEqual([(each["fields"]["who"], each["fields"]["what"]) for each in said], [("token deploy", "/rollback?number=1")])
        self.reads_as_text()


class AttackTests(BrowserCase):
    """Pages of others, in a browser whose user has logged in at the admin interface."""

    def test_pages_of_others(self) -> None:
        """Neither a page elsewhere, nor one that DNS rebinding has brought to our address, reads or changes anything."""
        evil = _Page()
        self.addCleanup(evil.stop)
        browser = Browser(here=(_EVIL,))
        self.addCleanup(browser.close)
        self.logs_in(browser)
        browser.go(f"{self.at}/generations")
        self.assertTrue(browser.run("!!document.querySelector('form[method=post]')"), "this browser may operate")

        browser.go(f"http://{_EVIL}:{evil.port}/")                              # a page elsewhere
        self.assertEqual(browser.run("document.title"), "evil")
        rollback = f"{self.at}/rollback?number=1"
        tried = browser.run(f"""Promise.all([
            fetch("{self.at}/config", {{credentials: "include"}}).then(a => a.text(), () => "nothing"),
            fetch("{rollback}", {{method: "POST", credentials: "include"}}).then(a => a.text(), () => "nothing"),
            fetch("{rollback}", {{method: "POST", credentials: "include", mode: "no-cors"}}).then(a => a.type, () => "nothing"),
        ])""")
        self.assertEqual(tried, ["nothing"] * 3)
        browser.leave("const form = document.createElement('form'); form.method = 'post'; "
                      f"form.action = '{rollback}'; document.body.append(form); form.submit()")
        self.assertIn("may not use the admin interface", browser.text())
        self.assertEqual(self.generation(), 2)

        browser.go(f"http://{_EVIL}:{self.gateway.admin_port}/")                # its name means our address now
        self.assertIn("this Host is not one of the admin interface", browser.text())
        said = browser.run("fetch('/rollback?number=1', {method: 'POST', credentials: 'include'}).then(a => a.status)")
        self.assertEqual((said, self.generation()), (403, 2))

        browser.go(f"http://{_EVIL}:{evil.port}/frame?{self.at}/generations")   # clickjacking
        self.assertFalse(browser.run("(() => { try { return !!frames[0].document.body.innerText } catch { return false } })()"))
        self.assertTrue(any("frame" in each.lower() or "refused" in each.lower() or "403" in each for each in browser.complaints()))


class _Page:
    """Somebody else's web server."""

    def __init__(self) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                frame = self.path.partition("?")[2]
                body = f"<title>evil</title>{f'<iframe src={frame}></iframe>' if frame else ''}".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *said: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        """The end of it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
