"""Makes tables and plots of docs/performance.rst from the JSON results.

``python benchmarks/render.py --into FILE`` replaces everything between the two marker comments of docs/performance.rst,
and writes the plots beside it. Without ``--into`` the text goes to standard output. Nothing is computed here that does not
stand in the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from compare import FEATURES, grid
from harness import HERE
from machine import in_words
from plots import Plot, plots, write
from targets import COMPILED, INTERPRETED, judge, score
from targets import table as targets_table

_ON: Final = (
    "CPU time of the proxy's process, as a ratio to the peer's in the same round: the median of the rounds, in brackets the "
    "least and the most. All proxies have an access log in a file, metrics, a request id, two header edits, timeouts, a retry "
    "policy and 1,000 routes among which the requests take turns; relays have the log. Figures with a unit are no ratios.")
_OFF: Final = "The same without log, id, edits and retry policy, and with one route."

TITLE: Final = "What was measured"
#: Of the sections; who has none has its result's own.
_TITLES: Final = {
    "http_keepalive": "HTTP/1.1, kept connections", "http_keepalive_64k": "HTTP/1.1, 64 KiB",
    "http_newconn": "HTTP/1.1, a new connection for every request", "http_bulk": "HTTP/1.1, 10 MiB", "http2": "HTTP/2",
    "http2_tls": "HTTP/2 over TLS", "https_keepalive": "HTTPS, kept connections", "tls_handshake": "TLS, full handshakes",
    "tls_handshake_rsa": "TLS, full handshakes with RSA", "tls_resumed": "TLS, resumed sessions", "tls_bulk": "HTTPS, 10 MiB",
    "sni": "TLS passed through by its server name", "websocket": "WebSocket, messages", "tcp_echo": "TCP, round trips",
    "tcp_newconn": "TCP, a new connection for every round trip", "tcp_bulk": "TCP, bulk", "udp": "UDP, round trips",
    "dns": "DNS, answers", "forward_connect": "Forward proxy, CONNECT", "forward_plain": "Forward proxy, requests",
    "forward_inspected": "Forward proxy, inside opened TLS", "open_loop": "Latency when requests come at a steady rate",
    "idle_http": "Memory of idle connections", "idle_tls": "Memory of idle TLS connections",
    "growth_routes": "Against the number of routes", "growth_endpoints": "Against the number of endpoints",
    "growth_connections": "Against the number of connections",
}
_SETS: Final = {"_full": ", everything on", "_bare": ", everything off", "_ten": ", ten features"}
BEGIN: Final = ".. benchmarks: begin"
END: Final = ".. benchmarks: end"

#: The order of the docs; results with other names follow.
_PATHS: Final = (
    "http_keepalive", "http_keepalive_64k", "http_newconn", "http_bulk", "http2", "http2_tls", "https_keepalive",
    "tls_handshake", "tls_handshake_rsa", "tls_resumed", "tls_bulk", "sni", "websocket",
    "tcp_echo", "tcp_newconn", "tcp_bulk", "tcp_bulk_default_buffers", "udp", "dns",
    "forward_connect", "forward_plain", "forward_inspected", "open_loop", "open_loop_poisson",
    "idle_http", "idle_tls", "idle_tcp", "sessions_udp", "sessions_tcp", "soak", "probes",
    "growth_routes", "growth_endpoints", "growth_connections",
)
ORDER: Final = tuple(name + suffix for name in _PATHS for suffix in ("_full", "_ten", "", "_bare"))
assert {*FEATURES.values()} == {"_full", "_ten", "", "_bare"}


def load_results(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Results in the order of the docs; a directory stands for its JSON files."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    results = [result for file in files if "title" in (result := json.loads(file.read_text()))]  # conformance has its own page
    position = {name: number for number, name in enumerate(ORDER)}
    return sorted(results, key=lambda result: (position.get(result["comparison"], len(ORDER)), result["comparison"]))


def strictness(paths: Sequence[Path]) -> dict[str, Any] | None:
    """The result of `conformance.py`, which has another form than the others; None where there is none."""
    files = [path / "conformance.json" if path.is_dir() else path for path in paths]
    found = [json.loads(file.read_text()) for file in files if file.name == "conformance.json" and file.exists()]
    return found[0] if found else None


def render(
    results: Sequence[dict[str, Any]], drawn: Sequence[Plot] = (), strictness: dict[str, Any] | None = None,
) -> str:
    """Targets, plots, how strict each proxy is, and a table for each comparison.

    Machine, versions and notes on proxies stand once at the top where they are the same for all.
    """
    versions: dict[str, set[str]] = {}
    for result in results:
        for name, about in result["proxies"].items():
            versions.setdefault(name, set()).add(about["version"])
    one_machine = len({in_words(result["machine"]) for result in results}) == 1
    together = one_machine and all(len(found) == 1 for found in versions.values())
    blocks = [f"{TITLE}\n{'=' * len(TITLE)}", *([provenance(results)] if together else [])]
    blocks += targets(results)
    blocks += [f".. image:: {plot.file}\n   :alt: {plot.caption}\n\n{plot.caption[:1].upper()}{plot.caption[1:]}."
               for plot in drawn]
    if strictness is not None:
        blocks += scoreboard(strictness)
    blocks += [section(result, with_provenance=not together) for result in results]
    return "\n\n".join(blocks) + "\n"


def section(result: dict[str, Any], *, with_provenance: bool) -> str:
    """One comparison: title, table, how it was run, what makes it doubtful."""
    options = result["options"]
    title = heading(result)
    blocks = [f"{title}\n{'-' * len(title)}"]
    if with_provenance:
        blocks.append(provenance([result]))
    load = f", {options['seconds']:g} s of load for each proxy in each" if options["seconds"] else ""
    rounds = f"{options['rounds']} interleaved rounds" if options["rounds"] > 1 else "1 round"
    if title != result["title"]:
        blocks.append(f"{result['title'][:1].upper()}{result['title'][1:]}.")
    blocks.append(f"{rounds}{load}; median, in brackets least and most. {result['when'][:10]}.")
    blocks.append(table(result))
    blocks += result["notes"]
    if result["warnings"]:
        blocks.append(".. warning::\n\n" + "\n".join(f"   * {text}" for text in result["warnings"]))
    return "\n\n".join(blocks)


def heading(result: dict[str, Any]) -> str:
    """A short title."""
    name = result["comparison"]
    base, suffix = next(((name.removesuffix(end), end) for end in _SETS if name.endswith(end)), (name, ""))
    return _TITLES[base] + _SETS.get(suffix, "") if base in _TITLES else str(result["title"])


def table(result: dict[str, Any]) -> str:
    """A row for each proxy, a column for each figure, and the ratios to the other proxies."""
    return "\n".join([".. code-block:: text", "", *(f"   {line}".rstrip() for line in grid(result))])


def targets(results: Sequence[dict[str, Any]]) -> list[str]:
    """The tables of targets, with everything on and with everything off, as far as they were measured."""
    blocks = []
    for suffix, title, about in (("_full", "Targets, everything on", _ON), ("_bare", "Targets, everything off", _OFF)):
        if judged := judge(results, suffix):
            blocks += [f"{title}\n{'-' * len(title)}", about, targets_table(judged),
                       f"Met: {score(judged, COMPILED)} by the compiled build, {score(judged, INTERPRETED)} by the other."]
    return blocks


def scoreboard(result: dict[str, Any]) -> list[str]:
    """How often each proxy did what, of the framing catalogue."""
    words = ("as said", "refused", "put right", "otherwise", "garbage")
    title = "Strictness beside it"
    lines = [f"{'':16}" + "".join(f"{word:>11}" for word in words)]
    for name, outcomes in result["outcomes"].items():
        count = Counter(outcomes.values())
        lines.append(f"{name:16}" + "".join(f"{count[word]:>11}" for word in words))
    cases = len(next(iter(result["outcomes"].values())))
    about = (f"What becomes of {cases} requests, {len(result['valid'])} of them valid, that try the framing; "
             ":doc:`conformance` says what the words mean.")
    return [f"{title}\n{'-' * len(title)}", about,
            "\n".join([".. code-block:: text", "", *(f"   {line}".rstrip() for line in lines)])]


def replace_between_markers(text: str, tables: str) -> str:
    """`text` with everything between the markers replaced; raises ValueError when they are not there, once and in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after:
        raise ValueError(f"the file must have the line {BEGIN!r}, and {END!r} after it, once each")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def provenance(results: Sequence[dict[str, Any]]) -> str:
    """Machine, versions of everybody in these results, and what must be known of how each is set up."""
    proxies = {name: about for result in results for name, about in sorted(result["proxies"].items()) if about["version"]}
    versions = ", ".join(f"{name} {about['version']}" for name, about in proxies.items())
    blocks = [in_words(results[0]["machine"]), f"{versions}; load by {results[0]['generator']}."]
    blocks += [f"*{name}* {about['note']}." for name, about in proxies.items() if about["note"]]
    return "\n\n".join(blocks)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, default=[HERE / "results"], help="JSON files, or directories of them")
    parser.add_argument("--into", type=Path, help="the file between whose markers the tables go")
    options = parser.parse_args()
    results = load_results(options.results)
    if not results:
        sys.exit("render: no results")
    drawn = plots(results)
    text = render(results, drawn, strictness(options.results))
    if options.into is None:
        print(text, end="")
        return
    try:
        write(drawn, options.into.parent)
        options.into.write_text(replace_between_markers(options.into.read_text(), text))
    except (OSError, ValueError) as error:
        sys.exit(f"render: {options.into}: {error}")


if __name__ == "__main__":
    main()
