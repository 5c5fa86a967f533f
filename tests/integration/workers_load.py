"""Constant load from threads, each with one connection at a time, which remembers everything that went wrong and when."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from typing import Any

#: A request that takes longer has failed.
PATIENCE_S = 10.0


class Failure:
    """What went wrong with one request: `held` tells whether its connection had been answered on before."""

    def __init__(self, at: float, what: str, held: bool) -> None:
        self.at = at
        self.what = what
        self.held = held

    def __repr__(self) -> str:
        return f"<{self.what} on a connection that was {'old' if self.held else 'new'}>"


class Load:
    """`clients` threads ask `port` over keep-alive connections, each of which ends after `per_connection` requests."""

    def __init__(self, port: int, clients: int = 8, per_connection: int = 20, pause_s: float = 0.002) -> None:
        self.failures: list[Failure] = []
        self.answers = 0
        self.bodies: dict[bytes, int] = {}
        self._port = port
        self._per_connection = per_connection
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def run_for(self, seconds: float, *do: Callable[[], Any]) -> None:
        """Load for so long; each of `do` is called in its turn, spread over that time."""
        with self:
            for each in do:
                time.sleep(seconds / (len(do) + 1))
                each()
            time.sleep(seconds / (len(do) + 1))

    def _run(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
            done = 0
            try:
                while done < self._per_connection and not self._stop.is_set():
                    connection.request("GET", "/")
                    response = connection.getresponse()
                    body = response.read()
                    with self._lock:
                        if response.status == 200:
                            self.answers += 1
                            self.bodies[body] = self.bodies.get(body, 0) + 1
                        else:
                            self.failures.append(Failure(time.monotonic(), f"{response.status} {body[:80]!r}", done > 0))
                    done += 1
                    if response.will_close:
                        break
                    time.sleep(self._pause_s)
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(Failure(time.monotonic(), repr(error), done > 0))
            finally:
                connection.close()
