"""Writes the model of an import as a file of voltgw: objects in the order in which a request meets them, with remarks.

A value is written on one line where it fits, so that a rule reads like a sentence. What the file does is exactly what the model
says; the notes stand at its head.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

import yaml

from voltgw.app.importing.model import (
    Certificates,
    Check,
    Condition,
    Edit,
    Forward,
    Gateway,
    Host,
    Listen,
    Match,
    Pool,
    Redirect,
    Reply,
    Rule,
    Secure,
    Server,
    Verdict,
    object_name,
    printable,
)

#: Text that needs no quotes, and words that look so and do.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*|\d{1,3}(?:\.\d{1,3}){3}")
_WORDS: Final = frozenset(("y", "n", "yes", "no", "true", "false", "on", "off", "null"))
#: Columns of a line that is still one line.
_WIDTH: Final = 120
#: Rules that one route object may have.
_MOST_RULES: Final = 256
#: Alternatives that one rule may have.
_MOST_MATCHES: Final = 16
#: Where certificates are fetched, as the others do who fetch them unasked.
LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
_KINDS: Final = {("http", False): "HTTP_PROXY", ("http", True): "HTTPS_PROXY", ("tcp", False): "TCP_PROXY",
                 ("tcp", True): "TLS_TCP_PROXY", ("sni", False): "TCP_PROXY_WITH_SNI", ("sni", True): "TLS_TCP_PROXY_WITH_SNI",
                 ("udp", False): "UDP_PROXY"}


def write(gateway: Gateway, source: str, names: Sequence[str]) -> str:
    """The file; `source` is the kind of proxy, `names` are the files that were read."""
    lines = [printable(f"# Made by `voltgw import {source} {' '.join(names)}`."), "#"]
    notes = list(gateway.notes)
    if notes:
        lines.append("# What is not as it was there:")
        lines += [f"#   {note}" for note in notes]
        if gateway.notes.more:
            lines.append(f"#   and {gateway.notes.more} more.")
    else:
        lines.append("# Everything that concerns traffic has been translated.")
    if any(host.tls is not None and not host.tls.pairs for host in gateway.hosts):
        settings: dict[str, object] = {"data_dir": "voltgw-data", "acme": {
            "directory": LETS_ENCRYPT, "agree_to_terms": True,
            **({"contacts": [gateway.acme_email]} if gateway.acme_email else {})}}
        lines += ["", "# To use the other proxy was to agree to the CA's terms.", "gateway:", *_mapping(settings, 1)]
    for host in gateway.hosts:
        host.verdicts = _shortened(host.verdicts)
    lines += ["", "objects:" if gateway.hosts or gateway.pools else "objects: []"]
    for kind, name, spec, remark in _objects(gateway):
        lines += [f"# {line}" for line in remark.splitlines()]
        lines += [f"- kind: {kind}", f"  metadata: {{name: {_scalar(name)}}}", "  spec:", *_mapping(spec, 2), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


# -- objects ----------------------------------------------------------------------------------------------------------

def _objects(gateway: Gateway) -> Iterator[tuple[str, str, dict[str, object], str]]:
    policies: dict[Listen, str] = {}
    for host in gateway.hosts:
        routes = _route_names(host)
        listens = [_policy_name(policies, each) for each in host.listens]
        yield "virtual_host", host.name, _host(host, routes, listens), host.remark
        for number, name in enumerate(routes):
            rules = host.rules[number * _MOST_RULES:(number + 1) * _MOST_RULES]
            yield "route", name, {"routes": [one for rule in rules for one in _rules(rule, gateway, host)]}, ""
        if host.verdicts:
            yield "service_policy", host.name, {"rule_list": {"rules": [
                _verdict(verdict, f"{host.name}-{number}") for number, verdict in enumerate(host.verdicts, 1)]}}, ""
            for number, verdict in enumerate(host.verdicts, 1):
                if _six(verdict):
                    yield "ip_prefix_set", f"{host.name}-{number}", {"prefix": list(verdict.prefixes)}, ""
    for listen, name in policies.items():
        yield "advertise_policy", name, _listen(listen), ""
    for limit in gateway.limits.values():
        yield "rate_limiter", limit.name, {"limits": [{
            "unit": limit.unit, "total_number": limit.total,
            **({"burst_multiplier": limit.burst} if limit.burst > 1 else {})}]}, ""
    for pool in gateway.pools.values():
        names = [f"{pool.name}-{number}" for number in range(1, len(pool.servers) + 1)]
        yield "cluster", pool.name, _cluster(pool, names), ""
        for name, server in zip(names, pool.servers, strict=True):
            yield "endpoint", name, _endpoint(server, pool.datagrams), ""
        if pool.check is not None:
            yield "healthcheck", pool.name, _check(pool.check), ""


def _route_names(host: Host) -> list[str]:
    count = -(-len(host.rules) // _MOST_RULES)
    return [host.name if number == 0 else f"{host.name}-{number + 1}" for number in range(count)]


def _policy_name(policies: dict[Listen, str], listen: Listen) -> str:
    if listen not in policies:
        where = listen.unix or (f"{listen.address}-{listen.port}" if listen.address else f"port-{listen.port}")
        name = object_name(("udp-" if listen.datagrams else "") + where.replace(":", "-"))
        taken = set(policies.values())
        policies[listen] = next(
            each for number in range(1, len(taken) + 2)
            if (each := name if number == 1 else f"{name}-{number}") not in taken)
    return policies[listen]


def _listen(listen: Listen) -> dict[str, object]:
    if listen.unix is not None:
        return {"voltgw": {"unix": listen.unix}}
    extension: dict[str, object] = {} if listen.address else {"any_address": True}
    if listen.proxied:
        extension["proxy_protocol"] = {"trusted": list(listen.proxied)}
    return {
        **({"address": listen.address} if listen.address else {}), "port": listen.port,
        **({"protocol": "UDP"} if listen.datagrams else {}), **({"skip_xff_append": True} if listen.skip_forwarded_for else {}),
        **({"voltgw": extension} if extension else {})}


def _host(host: Host, routes: list[str], policies: list[str]) -> dict[str, object]:
    spec: dict[str, object] = {}
    if host.domains:
        spec["domains"] = host.domains
    proxy = _KINDS[host.kind, host.tls is not None and host.kind != "udp"]
    if proxy != "HTTP_PROXY":
        spec["proxy"] = proxy
    spec |= {"routes": routes, "advertise_policies": policies}
    if host.tls is not None:
        spec["tls_parameters"] = _certificates(host.tls)
    if host.default:
        spec["default_loadbalancer"] = {}
    _edits(spec, host.request, host.response)
    if host.idle_timeout_s is not None:
        spec["idle_timeout"] = _time(host.idle_timeout_s)
    if host.keep_alive_s is not None:
        spec["connection_idle_timeout"] = _time(host.keep_alive_s)
    if host.compress:
        spec["compression_params"] = {
            **({"content_type": list(host.compress_types)} if host.compress_types else {}),
            **({"voltgw": {"encodings": list(host.compress)}} if host.compress != ("gzip",) else {})}
    if host.kind == "http" and host.pass_server_header:
        spec["pass_through"] = {}
    if host.http2_only or host.http1_only:
        spec["http_protocol_options"] = {
            "http_protocol_enable_v2_only" if host.http2_only else "http_protocol_enable_v1_only": {}}
    if host.verdicts:
        spec["active_service_policies"] = {"policies": [host.name]}
    extension: dict[str, object] = {}
    if host.most_body_bytes:
        extension["max_request_body"] = _size(host.most_body_bytes)
    if host.trusted:
        extension["trusted_prefixes"] = list(host.trusted)
    if extension:
        spec["voltgw"] = extension
    return spec


def _certificates(tls: Certificates) -> dict[str, object]:
    common: dict[str, object] = {}
    if tls.least:
        common["minimum_protocol_version"] = tls.least
    if tls.most:
        common["maximum_protocol_version"] = tls.most
    if tls.pairs:
        common["tls_certificates"] = [
            {"certificate_url": f"file:{certificate}", "private_key": {"clear_secret_info": {"url": f"file:{key}"}}}
            for certificate, key in tls.pairs]
    if tls.client_ca:
        common["validation_params"] = {"trusted_ca_url": f"file:{tls.client_ca}"}
    made: dict[str, object] = {"common_params": common} if common else {}
    if tls.client_ca:
        made["client_certificate_optional" if tls.client_optional else "client_certificate_required"] = {}
    if not tls.pairs:
        made["voltgw"] = {"auto_cert": True}
    return made


def _shortened(verdicts: list[Verdict]) -> list[Verdict]:
    """The same with one line for all that is allowed behind the last refusal."""
    end = next((number for number in range(len(verdicts), 0, -1) if not verdicts[number - 1].allow), 0)
    return [*verdicts[:end], Verdict(None, (), True)] if end else []


def _six(verdict: Verdict) -> bool:
    """Whether prefixes of IPv6 are among its own: those stand in a set."""
    return any(":" in prefix for prefix in verdict.prefixes)


def _verdict(verdict: Verdict, name: str) -> dict[str, object]:
    spec: dict[str, object] = {"action": "ALLOW" if verdict.allow else "DENY"}
    if _six(verdict):
        spec["ip_matcher"] = {"prefix_sets": [name], **({"invert_matcher": True} if verdict.inverted else {})}
    elif verdict.prefixes:
        spec["ip_prefix_list"] = {"ip_prefixes": list(verdict.prefixes),
                                  **({"invert_match": True} if verdict.inverted else {})}
    match = verdict.match
    if match is not None:
        if match.how == "segments":
            plain = match.path.rstrip("/")
            spec["path"] = {"exact_values": [plain or "/"], "prefix_values": [plain + "/"], "transformers": ["NORMALIZE_PATH"]}
        elif match.how != "any":
            key = {"exact": "exact_values", "prefix": "prefix_values", "regex": "regex_values"}[match.how]
            spec["path"] = {key: [match.path], "transformers": ["NORMALIZE_PATH"]}
        if match.methods:
            spec["http_method"] = {"methods": list(match.methods)}
        for part, conditions in (("headers", match.headers), ("query_params", match.query), ("cookie_matchers", match.cookies)):
            if conditions:
                spec[part] = [_policy_condition(each, "key" if part == "query_params" else "name") for each in conditions]
    return {"metadata": {"name": name}, "spec": spec}


def _policy_condition(condition: Condition, key: str) -> dict[str, object]:
    made: dict[str, object] = {key: condition.name}
    if condition.how == "there":
        made["check_not_present" if condition.inverted else "check_present"] = {}
        return made
    made["item"] = {"exact_values" if condition.how == "exact" else "regex_values": [condition.value]}
    if condition.inverted:
        made["invert_matcher"] = True
    return made


# -- rules ------------------------------------------------------------------------------------------------------------

def _rules(rule: Rule, gateway: Gateway, host: Host) -> Iterator[dict[str, object]]:
    """The rules that one becomes: the list of matches of each is bounded."""
    entries = [one for match in rule.matches for one in _matches(match)]
    for start in range(0, len(entries) or 1, _MOST_MATCHES):
        yield _rule(rule, entries[start:start + _MOST_MATCHES], gateway, host)


def _rule(rule: Rule, entries: list[dict[str, object]], gateway: Gateway, host: Host) -> dict[str, object]:
    made: dict[str, object] = {}
    entries = [entry for entry in entries if entry] if all(entries) else []      # an empty entry matches everything
    if entries:
        made["match"] = entries
    extension: dict[str, object] = {}
    if any(match.how == "segments" for match in rule.matches):
        extension["segment_prefix"] = True
    response = list(rule.response)
    match rule.action:
        case Forward() as forward:
            made["route_destination"] = _forward(forward, gateway, host)
        case Redirect() as redirect:
            made["route_redirect"] = _redirect(redirect)
        case Reply() as reply:
            made["route_direct_response"] = {
                "response_code": reply.status, **({"response_body": reply.body} if reply.body else {})}
            if reply.content_type and reply.body and not any(edit.name.lower() == "content-type" for edit in response):
                response.insert(0, Edit("content-type", reply.content_type))
    _edits(made, rule.request, response)
    if rule.most_body_bytes:
        extension["max_request_body"] = _size(rule.most_body_bytes)
    if rule.limit:
        extension["rate_limiter"] = [rule.limit]
    asked: dict[str, object] = {}
    if rule.asks is not None:
        asked["forward_auth"] = {
            "cluster": [rule.asks.pool], **({"path": rule.asks.path} if rule.asks.path != "/" else {}),
            **({"host": rule.asks.host} if rule.asks.host else {}),
            **({"headers_to_endpoint": list(rule.asks.headers)} if rule.asks.headers else {}),
            **({"headers_to_client": list(rule.asks.told)} if rule.asks.told is not None else {})}
    if rule.users:
        asked["basic"] = {
            "users": rule.users if rule.users.startswith("string:///") else f"file:{rule.users}",
            **({"realm": rule.realm} if rule.realm else {}), **({"forward": True} if rule.keep_credential else {})}
    if asked:
        extension["authentication"] = asked
    if extension:
        made["voltgw"] = extension
    return made


def _matches(match: Match) -> Iterator[dict[str, object]]:
    """The entries that one match becomes: one for each method, for an entry has one."""
    entry: dict[str, object] = {}
    if match.how in ("prefix", "segments", "exact", "regex") and not (match.how != "exact" and match.path == "/"):
        entry["path"] = {{"prefix": "prefix", "segments": "prefix", "exact": "path", "regex": "regex"}[match.how]: match.path}
    if match.headers:
        entry["headers"] = [_condition(each, "name") for each in match.headers]
    if match.query:
        entry["query_params"] = [_query_condition(each) for each in match.query]
    if match.cookies:
        entry["voltgw"] = {"cookies": [_condition(each, "name") for each in match.cookies]}
    for method in match.methods or ("",):
        yield {**entry, "http_method": method} if method else entry


def _condition(condition: Condition, key: str) -> dict[str, object]:
    made: dict[str, object] = {key: condition.name}
    if condition.how == "there":
        made["presence"] = True
    else:
        made[condition.how] = condition.value
    if condition.inverted:
        made["invert_match"] = True
    return made


def _query_condition(condition: Condition) -> dict[str, object]:
    return {"key": condition.name, **({condition.how: condition.value} if condition.how != "there" else {})}


def _forward(forward: Forward, gateway: Gateway, host: Host) -> dict[str, object]:
    alone = len(forward.pools) == 1
    made: dict[str, object] = {"destinations": [
        {"cluster": [pool], **({} if alone or weight is None else {"weight": weight})} for pool, weight in forward.pools]}
    if forward.prefix_rewrite is not None:
        made["prefix_rewrite"] = forward.prefix_rewrite
    if forward.regex_rewrite is not None:
        pattern, substitution = forward.regex_rewrite
        made["regex_rewrite"] = {"pattern": pattern, "substitution": substitution}
    if forward.host is not None:
        made["host_rewrite"] = forward.host
    elif forward.server_host:
        made["auto_host_rewrite"] = True
    if forward.query is not None:
        made["query_params"] = {"replace_params": forward.query} if forward.query else {"remove_all_params": {}}
    if forward.timeout_s is not None:
        made["timeout"] = _time(forward.timeout_s)
    if forward.retries is not None:
        made["retry_policy"] = {
            **({"retry_condition": list(forward.retry_on)} if forward.retry_on else {}), "num_retries": min(forward.retries, 8)}
    if forward.mirror is not None:
        pool, percent = forward.mirror
        made["mirror_policy"] = {"cluster": [pool], **({} if percent >= 100 else {
            "percent": {"numerator": round(percent * 10_000), "denominator": "MILLION"}})}
    if forward.websocket and host.kind == "http":
        made["web_socket_config"] = {"use_websocket": True}
    hashed = gateway.pools[forward.pools[0][0]].hashed if alone and forward.pools[0][0] in gateway.pools else None
    if hashed is not None:
        what, name = hashed
        made["hash_policy"] = [{"source_ip": True} if what == "source" else
                               {"header_name": name} if what == "header" else {"cookie": {"name": name}}]
    return made


def _redirect(redirect: Redirect) -> dict[str, object]:
    made: dict[str, object] = {}
    if redirect.scheme:
        made["proto_redirect"] = redirect.scheme
    if redirect.host:
        made["host_redirect"] = redirect.host
    if redirect.path is not None:
        made["path_redirect"] = redirect.path
    elif redirect.prefix is not None:
        made["prefix_rewrite"] = redirect.prefix
    if not redirect.keep_query:
        made["remove_all_params"] = {}
    made["response_code"] = redirect.status
    return made


def _edits(spec: dict[str, object], request: Iterable[Edit], response: Iterable[Edit]) -> None:
    for side, edits in (("request", list(request)), ("response", list(response))):
        added = [{"name": edit.name, "value": edit.value, **({"append": True} if edit.append else {})}
                 for edit in edits if edit.value is not None]
        removed = [edit.name for edit in edits if edit.value is None]
        if added:
            spec[f"{side}_headers_to_add"] = added
        if removed:
            spec[f"{side}_headers_to_remove"] = removed


# -- servers ----------------------------------------------------------------------------------------------------------

def _cluster(pool: Pool, names: list[str]) -> dict[str, object]:
    spec: dict[str, object] = {"endpoints": names}
    if pool.check is not None:
        spec["health_checks"] = [pool.name]
    if pool.algorithm != "ROUND_ROBIN":
        spec["loadbalancer_algorithm"] = pool.algorithm
    if pool.tls is not None:
        spec["tls_parameters"] = _secure(pool.tls)
    if pool.http2:
        spec["http2_options"] = {"enabled": True}
    if pool.connect_timeout_s is not None:
        spec["connection_timeout"] = _time(pool.connect_timeout_s)
    if pool.max_requests:
        spec["circuit_breaker"] = {"max_requests": min(pool.max_requests, 32768)}
    if pool.proxy_protocol:
        spec[f"proxy_protocol_v{pool.proxy_protocol}"] = {}
    if pool.cookie:
        spec["voltgw"] = {"affinity": "endpoint_cookie", "affinity_cookie": {"name": pool.cookie}}
    return spec


def _secure(tls: Secure) -> dict[str, object]:
    common: dict[str, object] = {}
    if tls.ca and tls.verify:
        common["validation_params"] = {"trusted_ca_url": f"file:{tls.ca}"}
    if tls.certificate and tls.key:
        common["tls_certificates"] = [{
            "certificate_url": f"file:{tls.certificate}", "private_key": {"clear_secret_info": {"url": f"file:{tls.key}"}}}]
    made: dict[str, object] = {"common_params": common}
    if tls.host_as_sni:
        made["use_host_header_as_sni"] = {}
    elif tls.sni is not None:
        made["sni" if tls.sni else "disable_sni"] = tls.sni or {}
    if not tls.verify:
        made["voltgw"] = {"skip_server_verification": True}
    return made


def _endpoint(server: Server, datagrams: bool) -> dict[str, object]:
    extension: dict[str, object] = {}
    if server.weight is not None and server.weight != 1:
        extension["weight"] = server.weight
    if server.backup:
        extension["priority"] = 1
    if server.unix:
        return {"voltgw": {"unix": server.host, **extension}}
    return {
        "ip" if is_address(server.host) else "dns_name": server.host, "port": server.port,
        **({"protocol": "UDP"} if datagrams else {}), **({"voltgw": extension} if extension else {})}


def _check(check: Check) -> dict[str, object]:
    what: dict[str, object] = {}
    if check.path is not None:
        what = {"http_health_check": {
            "path": check.path, **({"host_header": check.host} if check.host else {}),
            **({"expected_status_codes": list(check.statuses)} if check.statuses else {})}}
    else:
        what = {"tcp_health_check": {}}
    interval = min(600.0, max(1.0, check.interval_s))
    return {**what, "interval": _time(interval), "timeout": _time(min(600.0, max(1.0, check.timeout_s))),
            "healthy_threshold": min(16, max(1, check.rise)), "unhealthy_threshold": min(16, max(1, check.fall))}


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# -- YAML -------------------------------------------------------------------------------------------------------------

def _time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def _size(count: int) -> str | int:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count % size == 0:
            return f"{count // size}{unit}"
    return count


def _scalar(value: object) -> str:
    """A scalar as it may stand inside ``{}``; text that names no variable stays so (``${`` is one)."""
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS:
            return value
        return _quoted(value.replace("${", "$${"))
    return _quoted(value)


@lru_cache(maxsize=4096)
def _quoted(value: object) -> str:
    """A scalar that may need quotes."""
    if isinstance(value, str) and any(one < " " or one == "\x7f" for one in value):
        return json.dumps(value, ensure_ascii=False)
    text: str = yaml.safe_dump([value], default_flow_style=True, width=1 << 20, allow_unicode=True)
    return text.strip()[1:-1]


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _mapping(value: dict[str, object], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, each in value.items():
        flow = _flow(each)
        if not isinstance(each, dict | list) or len(indent) + len(key) + 2 + len(flow) <= _WIDTH and not _deep(each):
            yield f"{indent}{key}: {flow}"
        elif isinstance(each, dict):
            yield f"{indent}{key}:"
            yield from _mapping(each, depth + 1)
        else:
            yield f"{indent}{key}:"
            yield from _list(each, depth)


def _list(value: list[object], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for each in value:
        flow = _flow(each)
        if not isinstance(each, dict) or not each or len(indent) + 2 + len(flow) <= _WIDTH and not _deep(each):
            yield f"{indent}- {flow}"
            continue
        lines = list(_mapping(each, depth + 1))
        yield f"{indent}- {lines[0].lstrip()}"
        yield from lines[1:]


def _deep(value: object, depth: int = 0) -> bool:
    """Whether a value has too many levels to be read on one line."""
    if isinstance(value, dict):
        return depth > 2 or any(_deep(each, depth + 1) for each in value.values())
    if isinstance(value, list):
        return len(value) > 1 and any(isinstance(each, dict) for each in value) or any(_deep(each, depth + 1) for each in value)
    return False
