"""The schema of the access log: every key of a JSON record, in its order; its page in the docs is made from this."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["string", "number", "list", "object"]


class AccessField(NamedTuple):
    """One key of a record: `http` and `tcp` say in which records it stands, `ours` that the object model has it not.

    `always` False: only in the records of a sample, or where the client came by TLS (`tls`) or behind a PROXY header
    (`proxied`), or where ``gateway`` has a database of places (`located`) or tracing (`traced`), or as `only` says.
    """

    name: str
    kind: Kind
    meaning: str
    example: str
    http: bool = True
    tcp: bool = True
    ours: bool = False
    always: bool = True
    tls: bool = False
    proxied: bool = False
    located: bool = False
    traced: bool = False
    only: str = ""

    @property
    def records(self) -> str:
        """In which records it stands, in words."""
        records = "HTTP, TCP" if self.http and self.tcp else "HTTP" if self.http else "TCP"
        if self.only:
            return f"{records}, {self.only}"
        if self.traced:
            return f"{records}, with ``gateway.tracing``"
        if self.located:
            return f"{records}, with ``gateway.geo``"
        if self.proxied:
            return f"{records}, with a PROXY header"
        return f"{records}, by TLS" if self.tls else records if self.always else f"{records}, a sample"


def _http(name: str, kind: Kind, meaning: str, example: str) -> AccessField:
    return AccessField(name, kind, meaning, example, tcp=False)


_S: Final = "string"
_N: Final = "number"

ACCESS_FIELDS: Final = (
    AccessField("time", _S, "When the request or connection began (RFC 3339, UTC).", "2022-03-28T23:09:53.748Z"),
    # The client's connection.
    AccessField("connected_time", _S, "When the client's connection was accepted.", "2022-03-28T23:09:53.430389Z"),
    AccessField("listener", _S, "The listener that accepted it.", "127.0.0.1:8080", ours=True),
    AccessField("scheme", _S, "``http`` or ``https``, as the client spoke to the gateway.", "http"),
    AccessField("sni", _S, "The server name that the client asked for in its TLS hello.", "shop.example.com"),
    AccessField("tls_version", _S, "``VERSION_UNSPECIFIED`` without TLS.", "TLSv1.3"),
    AccessField("tls_cipher_suite", _S, "TLS version and suite.", "TLSv1.3/TLS_AES_128_GCM_SHA256"),
    AccessField("src", _S, "Who asks: ``N:`` and the network it came in by.", "N:site-local-vn"),
    AccessField("src_site", _S, "The site where it came in.", "paris"),
    AccessField("tls_fingerprint", _S, "JA3 of the client's TLS hello; this and the next three only with TLS.",
                "cd08e31494f9531f560d64c695473da9", always=False, tls=True),
    AccessField("ja4_tls_fingerprint", _S, "JA4 of it.", "t13d1516h2_8daaf6152771_b186095e22b6", always=False, tls=True),
    AccessField("client_certificate_subject", _S, "Of the certificate that the client has shown; empty for none.", "CN=alice",
                ours=True, always=False, tls=True),
    AccessField("client_certificate_names", _S, "Its alternative names.", "URI:spiffe://lab/alice,DNS:alice.example", ours=True,
                always=False, tls=True),
    AccessField("proxied_to", _S, "Where the client connected to, as the PROXY header of the proxy before us says; empty where "
                "it says nothing.", "198.51.100.1:443", ours=True, always=False, proxied=True),
    AccessField("proxy_tlvs", "list", "What else that header says: type and value of up to 16 TLVs, of each value at most 128 "
                "characters.", '["AUTHORITY=shop.example", "UNIQUE_ID=id-17", "AWS=0176706365"]', ours=True, always=False,
                proxied=True),
    AccessField("terminated_time", _S, "When the connection ended.", "2022-03-28T23:09:53.435620Z", http=False),
    AccessField("connection_state", _S, "Always ``CLOSED``.", "CLOSED", http=False),
    AccessField("src_ip", _S, "The client's address, after ``trusted_hops``.", "203.0.113.10"),
    AccessField("src_port", _S, "Its port; ``0`` when the address comes from a header.", "63826"),
    AccessField("user", _S, "Who the client is taken to be.", "IP-203.0.113.10"),
    AccessField("country", _S, "Its country (ISO 3166-1), by ``gateway.geo``.", "FR", always=False, located=True),
    AccessField("region", _S, "Its region.", "Auvergne-Rhone-Alpes", always=False, located=True),
    AccessField("city", _S, "Its city.", "Lyon", always=False, located=True),
    AccessField("asn", _S, "Its autonomous system.", "EXAMPLE-NET(64500)", always=False, located=True),
    # Where it was handled.
    AccessField("site", _S, "The site that this gateway embodies.", "paris"),
    AccessField("cluster_name", _S, "The site's cluster of gateways: its name.", "paris"),
    AccessField("hostname", _S, "The machine.", "edge-1"),
    AccessField("namespace", _S, "Of the virtual host; it and the next five are empty when none took the request.",
                "default"),
    AccessField("vh_name", _S, "The virtual host.", "shop"),
    AccessField("vh_type", _S, "What it is.", "HTTP-LOAD-BALANCER"),
    AccessField("app_type", _S, "Its label ``ves.io/app_type``.", "shop"),
    AccessField("proxy_type", _S, "Its proxy type.", "http"),
    AccessField("route", _S, "The route: the object's name and the rule's index in it.", "shop/0", ours=True),
    # The request.
    _http("authority", _S, "Host, as it was forwarded.", "shop.example.com"),
    _http("original_authority", _S, "Host, as the client sent it.", "shop.example.com"),
    _http("method", _S, "The method.", "GET"),
    _http("req_path", _S, "The path in its normal form: what routes and policies judged.", "/cart"),
    _http("original_path", _S, "The path as the client sent it, without the query.", "/./cart"),
    _http("req_params", _S, "The query; values of parameters that look like secrets are ``***``.", "page=2&token=***"),
    AccessField("req_size", _S, "Bytes from the client, head included.", "717"),
    _http("req_id", _S, "The request's id, as in X-Request-Id.", "f282cd42-4c86-4fd8-8d57-f90e43e1c9a5"),
    AccessField("trace_id", _S, "The trace that it is part of (W3C).", "0af7651916cd43dd8448eb211c80319c", tcp=False, ours=True,
                always=False, traced=True),
    AccessField("span_id", _S, "Its own span there, which spans of tries have for parent.", "00f067aa0ba902b7", tcp=False,
                ours=True, always=False, traced=True),
    AccessField("sampled", _S, "``1`` = that it is recorded was decided before it went on, and told to the endpoint; ``0`` = "
                "not; if it failed, it is recorded all the same.", "1", tcp=False, ours=True, always=False, traced=True),
    _http("http_version", _S, "``HTTP/1.0``, ``HTTP/1.1`` or ``HTTP/2``.", "HTTP/1.1"),
    _http("x_forwarded_for", _S, "What the client sent in X-Forwarded-For, believed or not.", "198.51.100.7"),
    _http("user_agent", _S, "User-Agent.", "curl/8.5.0"),
    # The answer.
    _http("rsp_code", _S, "The status that the client was sent; ``0`` = nothing was sent.", "304"),
    _http("rsp_code_class", _S, "Its class.", "3xx"),
    AccessField("rsp_code_details", _S, "Why it was this one, in a word; ``via_upstream`` = the endpoint's.",
                "via_upstream"),
    AccessField("response_flags", _S, "What went wrong, in Envoy's letters; empty = nothing.", "UF"),
    AccessField("grpc_status", _S, "How a call of gRPC went, as its answer says.", "14", tcp=False, ours=True, always=False,
                only="calls of gRPC"),
    AccessField("auth", _S, "What came of asking for credentials: the kind that was good, or the kind and why it was not; "
                "empty = nobody asked.", "jwt", tcp=False, ours=True),
    AccessField("auth_user", _S, "Who was proven by it.", "ada", tcp=False, ours=True),
    AccessField("policy", _S, "The rule of a service policy that decided: the policy, then the rule; empty = none was asked.",
                "default/edge/no-admin", ours=True),
    AccessField("rate_limit", _S,
                "The rate limit that refused, or only reported, and the user (an address, or a short hash); empty = none did.",
                "default/per-user 192.0.2.7", tcp=False, ours=True),
    AccessField("rsp_size", _S, "Bytes to the client, head included.", "223"),
    # The endpoint.
    AccessField("upstream_cluster", _S, "The cluster that it was taken from.", "default/shop", ours=True),
    AccessField("dst", _S, "The endpoint asked last: ``S:`` and its address.", "S:10.0.0.5"),
    AccessField("dst_ip", _S, "Its address; ``NOT-APPLICABLE`` = none was asked.", "10.0.0.5"),
    AccessField("dst_port", _S, "Its port.", "9001"),
    AccessField("dst_site", _S, "Its site.", "paris"),
    AccessField("rollout", _S, "The rollout that shares requests out here, and to what this one went.",
                "default/shop candidate", ours=True, always=False, only="where there is a rollout"),
    AccessField("attempts", _N, "How many endpoints or connections were tried.", "1", ours=True),
    # Times in seconds since the request began; 0 = has not happened.
    AccessField("time_to_upstream_connected", _N, "The endpoint accepted.", "0.000310", http=False, ours=True),
    _http("time_to_first_upstream_tx_byte", _N, "The first byte was sent to the endpoint.", "0.000123"),
    _http("time_to_last_upstream_tx_byte", _N, "The last byte was sent to the endpoint.", "0.000123"),
    _http("time_to_first_upstream_rx_byte", _N, "The answer's first byte came.", "0.001456"),
    _http("time_to_last_upstream_rx_byte", _N, "The answer's last byte came.", "0.001456"),
    _http("time_to_first_downstream_tx_byte", _N, "The first byte was sent to the client.", "0.001460"),
    _http("time_to_last_downstream_tx_byte", _N, "The last byte was sent to the client.", "0.001460"),
    _http("duration_with_data_tx_delay", _S, "From the first byte to the endpoint to the last one to the client.",
          "0.001337"),
    _http("duration_with_no_data_tx_delay", _S, "From the first byte to the endpoint to the first one to the client.",
          "0.001337"),
    AccessField("duration_s", _N, "From beginning to end, in seconds.", "0.001460", ours=True),
    AccessField("slowed_s", _N, "So long has a rate kept the connection waiting, both ways together.", "1.250000", http=False,
                ours=True, always=False, only="slowed by a rate"),
    AccessField("req_headers", "object", "Fields of the request that the log's ``headers`` names, by name in lower case.",
                '{"referer": "https://shop.example/"}', tcp=False, always=False, only="where the log has ``headers``"),
    AccessField("rsp_headers", "object", "The same of the endpoint's answer.", '{"content-type": "text/html"}', tcp=False,
                ours=True, always=False, only="where the log has ``headers``"),
    AccessField("explain", "list", "Why it went where it went: the rules that were tried, in words. Only where "
                "``gateway.access_log.explain`` asks for it, and only in that part of the records.",
                '["virtual host default/shop", "rule shop/0 matches: the path begins with /cart"]', tcp=False, ours=True,
                always=False),
    AccessField("sample_rate", _S, "What share of its like is written; 1 for an error.", "0.010000", always=False,
                only="where the log has ``sample``"),
)
