"""How soon a change of one endpoint has its effect: an order of an operator, seen by the origin.

One connection asks a host again and again, and the origin says at which address each request arrived. An endpoint is drained
and let serve again through the admin interface, also while a reload is under way. The time runs from the moment before the
order is sent to the admin interface until the last request that still went to the drained endpoint was sent, or until the
first one that came to it again was (which, taking turns, is a little after it could have).
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from harness import BenchmarkError
from origin import SEEN_PATH

if TYPE_CHECKING:
    from scale_parts import Gateway

#: How long an effect is waited for.
_GIVE_UP_S: Final = 5.0
#: Requests are watched for so long after an order.
_WATCHED_S: Final = 0.3


class Watcher:
    """Asks one host without pause, and notes when each request was sent and where it arrived."""

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._host = host
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seen: list[tuple[float, str]] = []
        self.failure: Exception | None = None

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_GIVE_UP_S)
        try:
            while not self._ended.wait(0.0005):     # the load's processor is shared with the origin
                sent = time.perf_counter()
                connection.request("GET", SEEN_PATH, headers={"Host": self._host})
                answer = connection.getresponse()
                body = answer.read()
                # Without an endpoint (it was the only one) the gateway answers itself.
                self.seen.append((sent, "" if answer.status == 503 else json.loads(body)["at"]))
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self.failure = error
        finally:
            connection.close()

    def sent_to(self, address: str, since: float) -> list[float]:
        """When requests were sent that arrived there. Raises BenchmarkError when nothing is asked any more."""
        if self.failure is not None:
            raise BenchmarkError(f"asking {self._host} failed: {self.failure}")
        return [sent for sent, at in self.seen if sent >= since and at == address]


def effects(gateway: Gateway, number: int, rounds: int, meanwhile: Callable[[], object] | None = None) -> list[float]:
    """Seconds from each order to its effect; one endpoint of host `number` goes and comes `rounds` times.

    `meanwhile` runs beside all of it.
    """
    estate = gateway.estate
    address = estate.address(number)
    endpoint = f"{address}:{estate.origin}"
    thread = threading.Thread(target=meanwhile) if meanwhile is not None else None
    found: list[float] = []

    def order(act: str) -> float:
        began = time.perf_counter()
        query = urlencode({"endpoint": endpoint, "cluster": estate.cluster(number)})
        status, answer = gateway.ask("POST", f"/endpoints/{act}?{query}")
        if status != 200:
            raise BenchmarkError(f"{act} was refused: {answer}")
        return began

    with Watcher(estate.port, estate.domain(number)) as watcher:
        time.sleep(_WATCHED_S)
        if not watcher.sent_to(address, 0.0):
            raise BenchmarkError(f"no request came to {address} before it was drained")
        if thread is not None:
            thread.start()
        for _ in range(rounds):
            began = order("drain")
            time.sleep(_WATCHED_S)
            found.append(max((sent - began for sent in watcher.sent_to(address, began)), default=0.0))
            began = order("undrain")
            while not (again := watcher.sent_to(address, began)):
                if time.perf_counter() - began > _GIVE_UP_S:
                    raise BenchmarkError(f"{address} gets nothing after it was let serve again")
                time.sleep(0.002)
            found.append(again[0] - began)
        if thread is not None:
            thread.join()
    return found
