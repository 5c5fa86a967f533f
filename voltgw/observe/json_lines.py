"""Access records as JSON, one object a line.

The line is written by hand: what does not change with the request (the client's connection, the virtual host and route,
the endpoint, the outcome) stands ready as a piece of text, and the rest is filled in. Every value from outside goes
through the C escaper of the standard library's JSON, which takes less time than a look whether it is needed; so a line
is always ASCII and always valid. Some 2.5 to 4 us a line; a dictionary for a JSON writer costs more to fill than that.

Pieces are kept only for a moment (`forget`), so that no ended connection or replaced route is kept alive for long.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Final, TypeAlias

from voltgw.observe.anonymous import last_word, network_of, networks_of
from voltgw.observe.lines import (
    MAX_LINE,
    USER_AGENT,
    VERSIONS,
    Stamps,
    clip,
    ended,
    forwarded_for,
    original_path,
    seconds,
    text_of,
)
from voltgw.observe.redact import redact_path, redact_query
from voltgw.values.address import where
from voltgw.values.proxyheader import tlv_texts

if TYPE_CHECKING:
    from voltgw.values.exchange import ClientSide, EndpointLabels, Exchange, HostLabels, RouteLabels
    from voltgw.values.identity import Proof
    from voltgw.values.record import ConnectionRecord
    from voltgw.values.trace import Trace

#: Distinct user agents, authorities and methods whose escaped form is kept, and the longest one that is.
_MEMO_ENTRIES: Final = 1024
_MEMO_BYTES: Final = 256

_NO_TLS: Final = "VERSION_UNSPECIFIED"
#: Characters that are logged of a client certificate's subject, and of its names: a CA of strangers may sign long ones.
MAX_IDENTITY: Final = 1024
#: TLVs of a PROXY header that are logged, and characters of each value.
MAX_TLVS: Final = 16
MAX_TLV: Final = 128
#: The C escaper. (A compiled module finds what is Final without a look into its names.)
quoted: Final = encode_basestring_ascii
_NOBODY: Final = '"auth":"","auth_user":""'
_NO_ENDPOINT: Final = '"upstream_cluster":"","dst":"","dst_ip":"NOT-APPLICABLE","dst_port":"0","dst_site":""'


def proxy_type(proxy: str) -> str:
    """``http`` for HTTP_PROXY, ``tcp_with_sni`` for TCP_PROXY_WITH_SNI."""
    return proxy.replace("_PROXY", "").lower()


def host_type(proxy: str) -> str:
    """The kind of load balancer that a virtual host of this proxy type is."""
    first = proxy.partition("_")[0]
    return "HTTP-LOAD-BALANCER" if first.startswith("HTTP") else f"{'UDP' if first == 'UDP' else 'TCP'}-LOAD-BALANCER"


#: Where an address is: country, region, city, autonomous system and whose that is; None = nobody can say.
Find: TypeAlias = "Callable[[str], tuple[str, str, str, int, str] | None]"


class JsonLines:
    """One JSON object a line, with the keys of `voltgw.observe.fields.ACCESS_FIELDS` in its order.

    As in the object model's records, scalars are strings, but for times in seconds and counts of our own.
    """

    __slots__ = ("_clients", "_connected", "_endpoints", "_find", "_here", "_hosts", "_memo", "_network", "_outcomes",
                 "_routes", "_shown", "_site", "_stamps")

    def __init__(self, site: str, hostname: str, network: str, find: Find | None = None, anonymous: bool = False) -> None:
        """With `anonymous`, only the networks of client addresses are written."""
        self._find = find
        self._shown = network_of if anonymous else None
        self._site = quoted(site)
        self._network = quoted(f"N:{network}")
        self._here = f'"site":{self._site},"cluster_name":{self._site},"hostname":{quoted(hostname)}'
        self._stamps = Stamps()
        self._connected = Stamps()
        self._clients: dict[ClientSide, tuple[str, str, str]] = {}
        self._hosts: dict[HostLabels, str] = {}
        self._routes: dict[RouteLabels | None, str] = {}
        self._endpoints: dict[EndpointLabels | None, str] = {None: _NO_ENDPOINT}
        self._outcomes: dict[tuple[int, str, str], str] = {}
        self._memo: dict[bytes, str] = {}   # values of requests that come again and again, escaped

    def http(self, exchange: Exchange, offset: float, clipped: bool = False) -> str:
        """The line of one finished exchange; `clipped` says that its values were shortened already."""
        client = exchange.client
        piece = self._clients.get(client)
        if piece is None:
            piece = self._client(client)
        connection, source, address = piece
        if exchange.client_address != address:
            source = self._source(exchange.client_address, 0)
        route = self._routes.get(exchange.route)
        if route is None:
            route = self._route(exchange.route, "http")
        endpoint = self._endpoints.get(exchange.endpoint)
        if endpoint is None:
            endpoint = self._endpoint(exchange.endpoint)
        detail = exchange.detail or ("via_upstream" if exchange.response is not None else "")
        outcome = self._outcomes.get((exchange.response_code, exchange.flag, detail))
        if outcome is None:
            outcome = self._outcome(exchange.response_code, exchange.flag, detail)

        request = exchange.request
        memo = self._memo
        agent = b""
        for name, value in request.fields:
            if name == USER_AGENT:
                agent = value
                break
        user_agent = memo.get(agent)
        if user_agent is None:
            user_agent = self._remember(agent)
        method = memo.get(request.method)
        if method is None:
            method = self._remember(request.method)
        authority = memo.get(request.authority)
        if authority is None:
            authority = self._remember(request.authority)
        first_authority = authority
        if exchange.original_authority is not request.authority:
            first_authority = self._remember(exchange.original_authority)
        path = request.path
        req_path = first_path = quoted(
            path.decode("utf-8", "backslashreplace") if path.find(b";") < 0 else redact_path(text_of(path)))
        target, query = request.target, request.query
        if target != path and not (target.startswith(path) and target[len(path):len(path) + 1] == b"?"):
            first_path = quoted(redact_path(text_of(original_path(target))))
        parameters = quoted(redact_query(query.decode("utf-8", "backslashreplace"))) if query else '""'
        forwarded = '""'
        if request.forwarding:
            said = forwarded_for(exchange)
            forwarded = quoted(said if self._shown is None else networks_of(said))
        request_id = quoted(exchange.request_id.decode("utf-8", "backslashreplace"))

        proof = exchange.proof
        auth = _NOBODY if proof is None else _proven(proof)
        policy = quoted(exchange.policy) if exchange.policy else '""'
        limit = '""'
        if exchange.limit:
            limit = quoted(exchange.limit if self._shown is None else last_word(exchange.limit))
        grpc = f',"grpc_status":{quoted(text_of(exchange.grpc_status))}' if exchange.grpc_status else ""
        rollout = f',"rollout":{quoted(exchange.rollout)}' if exchange.rollout else ""
        traced = _traced(exchange.trace) if exchange.trace is not None else ""

        # Times: in a small answer several are one and the same moment, and writing a number costs more than comparing.
        start = exchange.t_start
        millisecond = int((start + offset) * 1000)
        stamps = self._stamps
        time = stamps.text if stamps.millisecond == millisecond else stamps.at(millisecond)
        first_tx, last_tx = exchange.t_upstream_first_tx, exchange.t_upstream_last_tx
        first_rx, last_rx = exchange.t_upstream_first_rx, exchange.t_upstream_last_rx
        first_down, last_down = exchange.t_downstream_first, exchange.t_downstream_last
        to_first_tx = seconds(first_tx - start) if first_tx else "0"
        to_last_tx = to_first_tx if last_tx == first_tx else seconds(last_tx - start) if last_tx else "0"
        to_first_rx = seconds(first_rx - start) if first_rx else "0"
        to_last_rx = to_first_rx if last_rx == first_rx else seconds(last_rx - start) if last_rx else "0"
        to_first_down = to_first_rx if first_down == first_rx else seconds(first_down - start) if first_down else "0"
        to_last_down = to_last_rx if last_down == last_rx else seconds(last_down - start) if last_down else "0"
        without_delay = seconds(first_down - first_tx) if first_down and first_tx else "0"
        with_delay = (without_delay if last_down == first_down
                      else seconds(last_down - first_tx) if last_down and first_tx else "0")
        duration = to_last_down if last_down else seconds(ended(exchange) - start)

        line = (
            f'{{"time":"{time}",{connection},{source},{route},"authority":{authority},'
            f'"original_authority":{first_authority},"method":{method},"req_path":{req_path},'
            f'"original_path":{first_path},"req_params":{parameters},"req_size":"{exchange.bytes_in}",'
            f'"req_id":{request_id},{traced}"http_version":"{VERSIONS[request.minor]}","x_forwarded_for":{forwarded},'
            f'"user_agent":{user_agent},{outcome}{grpc},{auth},"policy":{policy},"rate_limit":{limit},"rsp_size":"{exchange.bytes_out}",{endpoint}{rollout},'
            f'"attempts":{exchange.attempts},"time_to_first_upstream_tx_byte":{to_first_tx},'
            f'"time_to_last_upstream_tx_byte":{to_last_tx},"time_to_first_upstream_rx_byte":{to_first_rx},'
            f'"time_to_last_upstream_rx_byte":{to_last_rx},"time_to_first_downstream_tx_byte":{to_first_down},'
            f'"time_to_last_downstream_tx_byte":{to_last_down},"duration_with_data_tx_delay":"{with_delay}",'
            f'"duration_with_no_data_tx_delay":"{without_delay}","duration_s":{duration}}}\n'
        )
        return line if len(line) < MAX_LINE or clipped else self.http(clip(exchange), offset, True)

    def connection(self, record: ConnectionRecord, offset: float) -> str:
        """The line of one ended connection."""
        client = record.client
        piece = self._clients.get(client)
        if piece is None:
            piece = self._client(client)
        connection, source, _ = piece
        route = self._routes.get(record.route)
        if route is None:
            route = self._route(record.route, "tcp")
        endpoint = self._endpoints.get(record.endpoint)
        if endpoint is None:
            endpoint = self._endpoint(record.endpoint)
        start = record.t_start
        end = record.t_end or start
        connected = record.t_upstream_connected
        policy = record.policy if self._shown is None else last_word(record.policy)
        rollout = f',"rollout":{quoted(record.rollout)}' if record.rollout else ""
        slowed = f',"slowed_s":{seconds(record.slowed_s)}' if record.slowed_s else ""
        return (
            f'{{"time":"{self._stamps.at(int((start + offset) * 1000))}",{connection},'
            f'"terminated_time":"{self._stamps.exactly(end + offset)}","connection_state":"CLOSED",{source},{route},'
            f'"req_size":"{record.bytes_in}","rsp_code_details":{quoted(record.detail)},'
            f'"response_flags":{quoted(record.flag)},"policy":{quoted(policy)},"rsp_size":"{record.bytes_out}",{endpoint}{rollout},'
            f'"attempts":{record.attempts},"time_to_upstream_connected":{seconds(connected - start if connected else 0.0)},'
            f'"duration_s":{seconds(end - start)}{slowed}}}\n'
        )

    def forget(self) -> None:
        """Let go of the connections, routes and endpoints of the lines so far."""
        self._clients.clear()
        self._hosts.clear()
        self._routes.clear()
        self._endpoints.clear()
        self._endpoints[None] = _NO_ENDPOINT

    # -- pieces ----------------------------------------------------------------------------------------------------

    def _client(self, client: ClientSide) -> tuple[str, str, str]:
        version = client.tls_version or _NO_TLS
        suite = f"{version}/{client.tls_cipher or 'TLS_NULL_WITH_NULL_NULL'}"
        connection = (
            f'"connected_time":"{self._connected.exactly(client.connected_wall)}","listener":{quoted(client.listener)},'
            f'"scheme":{quoted(text_of(client.scheme))},"sni":{quoted(client.sni)},"tls_version":{quoted(version)},'
            f'"tls_cipher_suite":{quoted(suite)},"src":{self._network},"src_site":{self._site}'
        )
        handshake = client.handshake
        if handshake is not None:
            subject, names = ("", "")
            if handshake.peer:
                subject, names = import_module("voltgw.config.certificates").identity(handshake.peer[0])
            connection += (
                f',"tls_fingerprint":{quoted(handshake.ja3)},"ja4_tls_fingerprint":{quoted(handshake.ja4)},'
                f'"client_certificate_subject":{quoted(subject[:MAX_IDENTITY])},'
                f'"client_certificate_names":{quoted(names[:MAX_IDENTITY])}'
            )
        announced = client.announced
        if announced is not None:
            to = "" if announced.destination is None else where(*announced.destination)
            said = ",".join(map(quoted, tlv_texts(announced.tlvs[:MAX_TLVS], MAX_TLV)))
            connection += f',"proxied_to":{quoted(to)},"proxy_tlvs":[{said}]'
        address = client.peer_address
        piece = self._clients[client] = (connection, self._source(address, client.peer_port), address)
        return piece

    def _source(self, address: str, port: int) -> str:
        shown = address if self._shown is None else self._shown(address)
        said = f'"src_ip":{quoted(shown)},"src_port":"{port}","user":{quoted("IP-" + shown)}'
        found = self._find(address) if self._find is not None else None
        if found is not None:
            country, region, city, number, organisation = found
            asn = f"{organisation}({number})" if number else ""
            said += f',"country":{quoted(country)},"region":{quoted(region)},"city":{quoted(city)},"asn":{quoted(asn)}'
        return said

    def _route(self, route: RouteLabels | None, otherwise: str) -> str:
        if route is None:
            piece = (
                f'{self._here},"namespace":"","vh_name":"","vh_type":"","app_type":"","proxy_type":"{otherwise}",'
                f'"route":""'
            )
        else:
            # A host may have more routes than lines are remembered for: what they share is not made again for each.
            host = route.host
            shared = self._hosts.get(host)
            if shared is None:
                shared = self._hosts[host] = (
                    f'{self._here},"namespace":{quoted(host.namespace)},"vh_name":{quoted(host.name)},'
                    f'"vh_type":"{host_type(host.proxy)}","app_type":{quoted(host.app_type)},'
                    f'"proxy_type":{quoted(proxy_type(host.proxy))},"route":'
                )
            piece = self._routes[route] = shared + quoted(route.name)
        return piece

    def _endpoint(self, endpoint: EndpointLabels | None) -> str:
        if endpoint is None:
            return _NO_ENDPOINT
        piece = self._endpoints[endpoint] = (
            f'"upstream_cluster":{quoted(endpoint.cluster)},"dst":{quoted("S:" + endpoint.address)},'
            f'"dst_ip":{quoted(endpoint.address)},"dst_port":"{endpoint.port}",'
            f'"dst_site":{quoted(endpoint.site) if endpoint.site else self._site}'
        )
        return piece

    def _outcome(self, status: int, flag: str, detail: str) -> str:
        if len(self._outcomes) >= _MEMO_ENTRIES:
            self._outcomes.clear()          # an origin that invents status codes
        piece = self._outcomes[status, flag, detail] = (
            f'"rsp_code":"{status}","rsp_code_class":"{f"{status // 100}xx" if status else ""}",'
            f'"rsp_code_details":{quoted(detail)},"response_flags":{quoted(flag)}'
        )
        return piece

    def _remember(self, value: bytes) -> str:
        text = quoted(text_of(value))
        if len(value) <= _MEMO_BYTES:
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()          # clients that say something new every time
            self._memo[value] = text
        return text


def _proven(proof: Proof) -> str:
    user = "" if proof.user is None else proof.user.name[:MAX_IDENTITY]
    return f'"auth":{quoted(proof.said)},"auth_user":{quoted(user)}'


def _traced(trace: Trace) -> str:
    ids = f'"trace_id":"{trace.trace_id.decode("ascii")}","span_id":"{trace.base:016x}"'
    return f'{ids},"sampled":"{int(trace.sampled)}",'
