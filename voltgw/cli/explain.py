"""``voltgw explain FILE METHOD URL``: every decision for one request, with its reason and the place in the file.

Exit status 0 when it was explained, whatever becomes of the request; 2 with configuration errors or a question that cannot
be understood; with ``--live`` 1 when the gateway does not answer it and 3 when no gateway answers.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final
from urllib.parse import urlencode

from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.question import QuestionError, read_question
from voltgw.cli.check import examine
from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, Parser, answer
from voltgw.config.allocation import vip_of
from voltgw.config.kinds import KINDS
from voltgw.config.show import report
from voltgw.config.where import selected_sites
from voltgw.observe.decisions import text_of

#: Exit status of a wrong question, and of a configuration with errors.
WRONG_STATUS: Final = 2


def run(arguments: list[str]) -> int:
    """Explain what `arguments` ask; returns the exit status."""
    parser = _parser()
    # METHOD may be "-", which argparse takes for an option only in the first place of a group: it is fine as it stands.
    options = parser.parse_args(arguments)
    words = [options.file, options.method, options.url]
    given = [word for word in words if word is not None]
    if options.where is not None:
        if len(given) != 1 or options.live:
            parser.error("--where needs FILE, and no METHOD")
        return _where(options, given[0])
    if len(given) != (2 if options.live else 3):
        parser.error("METHOD and URL are needed" if options.live else "FILE, METHOD and URL are needed")
    if options.live:
        return _live(options, *given)
    return _dry(options, *given)


def _dry(options: argparse.Namespace, file: str, method: str, url: str) -> int:
    try:
        question = read_question(method, url, options.header, options.source or "", options.listener or "")
    except QuestionError as error:
        print(f"voltgw explain: {error}", file=sys.stderr)
        return WRONG_STATUS
    config, problems = examine([file])
    if config is None:
        print(report(problems), file=sys.stderr)
        return WRONG_STATUS
    try:
        explanation = Explainer(dry_runtime(config)).explain(question)
    except QuestionError as error:
        print(f"voltgw explain: {error}", file=sys.stderr)
        return WRONG_STATUS
    _show({"question": {"method": method, "url": url}, **explanation.plain()}, as_json=options.json)
    return 0


def _where(options: argparse.Namespace, file: str) -> int:
    """The sites that the ``where`` of an object selects, and why."""
    kind, _, name = options.where.partition("/")
    namespace, _, short = name.rpartition("/")
    config, problems = examine([file])
    if config is None:
        print(report(problems), file=sys.stderr)
        return WRONG_STATUS
    found = [one for one in config.of(kind).values() if one.name == short and namespace in ("", one.namespace)] \
        if kind in KINDS else []
    found = [one for one in found if hasattr(one.spec, "where")]
    if not found:
        print(f"voltgw explain: {options.where!r} names no object with a `where`; write KIND/NAME or KIND/NAMESPACE/NAME, such "
              "as advertise_policy/public", file=sys.stderr)
        return WRONG_STATUS
    for one in found:
        sites = selected_sites(config, one.spec.where, one.namespace)
        if options.json:
            print(json.dumps({"object": f"{kind}/{one.full_name}", "sites": [
                {"site": each.name, "own": each.own, "selected": each.taken, "why": each.reason} for each in sites]}, indent=2))
            continue
        print(f"{one.title}  [{one.place('where')}]")
        for each in sites:
            own = " (this gateway)" if each.own else ""
            print(f"  {'selected' if each.taken else 'not':<9} {each.name}{own}: {each.reason}")
            for inside in (False, True) if each.taken and kind == "advertise_policy" else ():
                vip = vip_of(config, each.site, one.full_name, inside)
                if vip is not None:
                    print(f"            VIP {vip}, out of the site's {'inside' if inside else 'outside'} range")
    return 0


def _live(options: argparse.Namespace, method: str, url: str) -> int:
    asked = [("method", method), ("url", url), *(("header", each) for each in options.header)]
    asked += [(name, value) for name, value in (("from", options.source), ("listener", options.listener)) if value]
    got = answer(options.admin, "GET", f"/explain?{urlencode(asked)}")
    if got is None:
        return UNREACHABLE_STATUS
    status, facts = got
    if status != 200 or not isinstance(facts, dict) or "decisions" not in facts:
        why = facts.get("error") if isinstance(facts, dict) else None
        print(f"voltgw explain: {why or f'{options.admin} answers {status}'}", file=sys.stderr)
        return WRONG_STATUS if status == 400 else REFUSED_STATUS
    _show(facts, as_json=options.json)
    return 0


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    question = facts["question"]
    print(f"{question['method']} {question['url']}\n")
    print(text_of(facts["decisions"]))


def _parser() -> Parser:
    parser = Parser(
        prog="voltgw explain", description="Say what becomes of a request, and why: every decision with its place.",
        usage="voltgw explain FILE METHOD URL [options]\n       voltgw explain --live METHOD URL [options]\n"
              "       voltgw explain FILE --where KIND/NAME",
        epilog="METHOD - with tcp://ADDRESS:PORT, tls://NAME:PORT or udp://ADDRESS:PORT explains what is relayed, with "
        "dns:NAME/TYPE what a name is answered with. Nothing is sent and nothing is changed.")
    parser.add_argument("file", metavar="FILE", nargs="?", help="the configuration; not with --live")
    parser.add_argument("method", metavar="METHOD", nargs="?", help="GET, POST, ...; - for a connection")
    parser.add_argument("url", metavar="URL", nargs="?", help="http://HOST[:PORT]/PATH, or what is relayed")
    parser.add_argument("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[],
                        help="a field of the request; may be given again")
    parser.add_argument("--from", metavar="IP", dest="source", help="the client's address")
    parser.add_argument("--listener", metavar="ADDR:PORT", help="the listener, where the URL does not tell it")
    parser.add_argument("--live", action="store_true", help="ask the running gateway, which knows its endpoints' health")
    parser.add_admin("--live")
    parser.add_argument("--where", metavar="KIND/NAME",
                        help="say instead which sites the `where` of an object selects, and why: advertise_policy/public")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return parser
