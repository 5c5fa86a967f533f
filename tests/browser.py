"""Chromium without a window, driven over its DevTools pipe; for tests of what a browser does with our pages.

One browser serves a whole class of tests. It talks to nobody but this machine, and names can be made to lead here
(``Browser(here=("evil.example",))``), as those of an attacker do.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.servers import require

#: Nothing that a test waits for takes longer than this (seconds), unless something is wrong.
PATIENCE_S: Final = 20.0
_SWITCHES: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe", "--window-size=1280,900",
)


def _above(fd: int) -> int:
    """The same with a number that is not in the way of those that the browser wants."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved


class Browser:
    """A browser with one page."""

    def __init__(self, here: Sequence[str] = ()) -> None:
        """Names in `here` are this machine's, others are nobody's."""
        program = require("chromium")
        self._folder = tempfile.mkdtemp()
        there, commands = os.pipe()
        answers, told = os.pipe()
        there, told = _above(there), _above(told)
        rules = ", ".join([*(f"MAP {name} 127.0.0.1" for name in here), "EXCLUDE localhost", "EXCLUDE 127.0.0.1", "MAP * ~NOTFOUND"])

        # The browser reads commands from descriptor 3 and answers on 4: another program puts ours there.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", f"import os, sys; os.dup2({there}, 3); os.dup2({told}, 4); os.execv(sys.argv[1], sys.argv[1:])",
             program, *_SWITCHES, f"--user-data-dir={self._folder}", f"--host-resolver-rules={rules}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(there, told),
            start_new_session=True)
        os.close(there)
        os.close(told)
        self._commands, self._answers = commands, answers
        self._rest = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = next(each for each in self.ask("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """End it, with everything that it has started."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        shutil.rmtree(self._folder, ignore_errors=True)     # parts of it may just write there for the last time

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": self._session} if self._session else {})}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE_S
        while True:
            answer = self._message(end, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _message(self, end: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(end - time.monotonic(), 0))
            read = os.read(self._answers, 1 << 20) if ready else b""
            if not read:
                raise AssertionError(f"the browser gives no answer: {what}")
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    # -- what tests do -------------------------------------------------------------------------------------------------

    def go(self, url: str) -> None:
        """Open a page and wait until it is there."""
        self.run("window.old = true")
        self.ask("Page.navigate", url=url)
        self.arrived()

    def arrived(self) -> None:
        """Wait until another page is there than the one that `go` or `leave` has left."""
        self.until("!window.old && document.readyState == 'complete'")

    def leave(self, script: str) -> None:
        """Do something that leads to another page, and wait for that."""
        self.run(f"window.old = true; {script}")
        self.arrived()

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Look until an expression is true."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                found = self.run(script)
            except AssertionError as error:         # the page changes just now
                found, why = None, str(error)
            else:
                why = repr(found)
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"after {PATIENCE_S:g} s still not: {script} ({why})")
            time.sleep(0.02)                        # the browser decides when; there is nothing to wait on

    def text(self) -> str:
        """What the page says to its reader."""
        said: str = self.run("document.body.innerText")
        return said

    def complaints(self) -> list[str]:
        """What the browser has complained of since the last look: scripts that failed, and what a policy has refused."""
        self.run("1")
        found = [each for each in self.events if each.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]
        self.events.clear()
        return [str(each["params"].get("entry", each["params"]).get("text", each["params"])) for each in found]

    def picture(self, file: Path, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """What the page looks like, as a PNG."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
