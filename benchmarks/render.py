"""Makes the tables of docs/performance.rst from the JSON results: `python benchmarks/render.py --into docs/performance.rst`.

Everything between the two marker comments of that file is replaced. Without ``--into`` the text goes to standard output.
Nothing is computed here that does not stand in the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from compare import Column
from harness import HERE
from machine import in_words

BEGIN: Final = ".. benchmarks: begin"
END: Final = ".. benchmarks: end"

#: The order of the docs; results with other names follow.
ORDER: Final = (
    "http_keepalive", "http_keepalive_bare", "http_keepalive_64k", "http_newconn", "http2", "http2_tls", "http_bulk",
    "https_keepalive", "tls_handshake", "tls_handshake_rsa", "tls_resumed", "tls_bulk", "sni",
    "tcp_echo", "tcp_newconn", "tcp_bulk", "tcp_bulk_default_buffers", "open_loop", "open_loop_poisson",
    "idle_http", "idle_tls", "idle_tcp", "sessions_udp", "sessions_tcp", "soak", "probes",
)


def load_results(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Results in the order of the docs; a directory stands for its JSON files."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    results = [result for file in files if "title" in (result := json.loads(file.read_text()))]  # conformance has its own page
    position = {name: number for number, name in enumerate(ORDER)}
    return sorted(results, key=lambda result: (position.get(result["comparison"], len(ORDER)), result["comparison"]))


def render(results: Sequence[dict[str, Any]]) -> str:
    """All sections; machine, versions and notes on proxies stand once at the top where they are the same for all."""
    versions: dict[str, set[str]] = {}
    for result in results:
        for name, about in result["proxies"].items():
            versions.setdefault(name, set()).add(about["version"])
    one_machine = len({in_words(result["machine"]) for result in results}) == 1
    together = one_machine and all(len(found) == 1 for found in versions.values())
    blocks = [provenance(results)] if together else []
    blocks += [section(result, with_provenance=not together) for result in results]
    return "\n\n".join(blocks) + "\n"


def section(result: dict[str, Any], *, with_provenance: bool) -> str:
    """One comparison: title, table, how it was run, what makes it doubtful."""
    options = result["options"]
    title = result["title"]
    blocks = [f"{title}\n{'-' * len(title)}"]
    if with_provenance:
        blocks.append(provenance([result]))
    load = f", {options['seconds']:g} s of load for each proxy in each" if options["seconds"] else ""
    rounds = f"{options['rounds']} interleaved rounds" if options["rounds"] > 1 else "1 round"
    blocks.append(f"{rounds}{load}; median, in brackets least and most. {result['when'][:10]}.")
    blocks.append(table(result))
    blocks += result["notes"]
    if result["warnings"]:
        blocks.append(".. warning::\n\n" + "\n".join(f"   * {text}" for text in result["warnings"]))
    return "\n\n".join(blocks)


def table(result: dict[str, Any]) -> str:
    """A list-table: a row for each proxy, a column for each figure, and the ratios to the other proxies."""
    columns = [Column(*column) for column in result["columns"]]
    ratios = [(figure, reference) for figure in _ratio_figures(result) for reference in result["references"]
              if any(reference in row["ratios"].get(figure, {}) for row in result["summary"])]
    headings = {column.figure: column.heading for column in columns}
    several = len({figure for figure, _ in ratios}) > 1
    rows = [["Proxy", *(column.heading for column in columns),
             *(f"{headings.get(figure, figure) if several else ''} x {reference}".strip() for figure, reference in ratios)]]
    for row in result["summary"]:
        cells = [f"{row['case']}, {row['proxy']}" if "case" in row else row["proxy"]]
        cells += [_cell(row["figures"].get(column.figure), column.decimals, column.scale) for column in columns]
        cells += [_cell(row["ratios"].get(figure, {}).get(reference), 2) if reference != row["proxy"] else "1"
                  for figure, reference in ratios]
        rows.append(cells)
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in rows:
        lines += [f"   {'* -' if number == 0 else '  -'} {cell}" for number, cell in enumerate(cells)]
    return "\n".join(lines)


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


def _ratio_figures(result: dict[str, Any]) -> list[str]:
    """The main figure, then the others for which ratios were kept."""
    kept = {figure: None for row in result["summary"] for figure in row["ratios"]}
    return sorted(kept, key=lambda figure: figure != result["main"])


def _cell(figure: dict[str, float] | None, decimals: int, scale: float = 1.0) -> str:
    if figure is None:
        return "\N{EN DASH}"
    middle, least, most = (f"{figure[key] * scale:.{decimals}f}" for key in ("median", "min", "max"))
    return middle if least == most else f"{middle} ({least}-{most})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, default=[HERE / "results"], help="JSON files, or directories of them")
    parser.add_argument("--into", type=Path, help="the file between whose markers the tables go")
    options = parser.parse_args()
    results = load_results(options.results)
    if not results:
        sys.exit("render: no results")
    text = render(results)
    if options.into is None:
        print(text, end="")
        return
    try:
        options.into.write_text(replace_between_markers(options.into.read_text(), text))
    except (OSError, ValueError) as error:
        sys.exit(f"render: {options.into}: {error}")


if __name__ == "__main__":
    main()
