"""What choosing a virtual host and a route costs, against the number of hosts and routes: it should stay what it is with one.

Names and paths are random words, and every request asks for another of them. Needs voltgw's interpreter; the machine should
have nothing else to do. (A request costs tens of microseconds altogether.)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voltgw.config.objects.route import PathMatcherType, RouteMatch
from voltgw.routing.hosts import HostTable
from voltgw.routing.index import Index
from voltgw.routing.match import compile_match
from voltgw.routing.table import Route, VirtualHost
from voltgw.values.head import RequestHead

PORT: Final = 80
#: How many of them there are in each column.
COUNTS: Final = (1, 10, 100, 1000, 10_000)
#: Most routes that one virtual host is measured with.
MOST_ROUTES: Final = 1000
#: What stands in domains for a word, and what a request then asks for.
NAMES: Final = {"exact name": ("{}.example", "{}.example"), "wildcard": ("*.{}.example", "www.{}.example"),
                "inside a label": ("*-{}.example", "www-{}.example")}
#: What rules ask for, and the path of a request.
PATHS: Final = {
    "path": ("path", "/{}", "/{}"),
    "prefix /word/": ("prefix", "/{}/", "/{}/items/7"),
    "prefix /word": ("prefix", "/{}", "/{}/items/7"),
    "prefix /api/v1/word/": ("prefix", "/api/v1/{}/", "/api/v1/{}/7"),
    "prefix /word/word/": ("prefix", "/{0}/{0}/", "/{0}/{0}/7"),
    "regex /word/[a-z]+": ("regex", "/{}/[a-z]+", "/{}/items"),
}


def words(count: int, chance: Random) -> list[str]:
    """Different words of 3 to 14 letters."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 14)))] = None
    return list(found)


def cost(choices: list[Callable[[], object]], seconds: float) -> float:
    """Nanoseconds for each choice: the best of many rounds through all of them."""
    best, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end:
        began = perf_counter()
        for choose in choices:
            choose()
        best = min(best, (perf_counter() - began) / len(choices))
    return best * 1e9


def of_hosts(form: tuple[str, str], count: int, chance: Random, seconds: float) -> float:
    """Choosing one of `count` virtual hosts."""
    named = words(count, chance)
    table = HostTable([((form[0].format(word),), VirtualHost(word)) for word in named])
    asked = [form[1].format(word).encode() for word in chance.choices(named, k=200)]
    assert all(table.choose(name, None, PORT) is not None for name in asked)
    return cost([lambda name=name: table.choose(name, None, PORT) for name in asked], seconds)     # type: ignore[misc]  # a default


def of_routes(form: tuple[str, str, str], count: int, chance: Random, seconds: float) -> float:
    """Choosing one of `count` routes of a virtual host."""
    host, named = VirtualHost("h"), words(count, chance)
    matches = [RouteMatch(path=PathMatcherType(**{form[0]: form[1].format(word)})) for word in named]
    choose = Index([(compile_match(match), Route(host, str(number))) for number, match in enumerate(matches)]).choose
    heads = [head(form[2].format(word).encode()) for word in chance.choices(named, k=200)]
    assert all(choose(each, PORT) is not None for each in heads)
    return cost([lambda each=each: choose(each, PORT) for each in heads], seconds)  # type: ignore[misc]  # a default


def head(path: bytes) -> RequestHead:
    """A request for `path`."""
    return RequestHead(b"GET", path, path, None, 1, b"h.example", b"h.example", None, [], 0, True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{'ns for each choice of':<34}" + "".join(f"{count:>9}" for count in COUNTS) + "    most/one")
    for name, names in NAMES.items():
        show(f"a virtual host by {name}", [of_hosts(names, count, Random(options.seed), options.seconds) for count in COUNTS])
    for name, paths in PATHS.items():
        show(f"a route by {name}", [of_routes(paths, count, Random(options.seed), options.seconds)
                                    for count in COUNTS if count <= MOST_ROUTES])
    return 0


def show(title: str, figures: list[float]) -> None:
    """Print one line of the table."""
    shown = "".join(f"{figure:>9.0f}" for figure in figures)
    print(f"{title:<34}{shown:<{9 * len(COUNTS)}}{figures[-1] / figures[0]:>12.2f}")


if __name__ == "__main__":
    sys.exit(main())
