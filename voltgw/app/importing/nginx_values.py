"""What nginx's words mean: variables in values, addresses, conditions of ``if``, and which directives concern traffic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from voltgw.app.importing.model import Condition, Listen, Match
from voltgw.app.importing.narrowing import METHODS
from voltgw.app.importing.nginx_words import Directive
from voltgw.app.importing.words import whole


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Directives that change no answer here: how nginx itself runs, buffers and logs, and what voltgw does anyway.
IGNORED: Final = _names("""
    user worker_processes worker_rlimit_nofile worker_connections worker_cpu_affinity worker_priority
    worker_shutdown_timeout multi_accept use accept_mutex pid daemon master_process load_module error_log access_log
    log_format log_not_found log_subrequest open_log_file_cache rewrite_log events pcre_jit thread_pool timer_resolution
    env sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio directio output_buffers postpone_output server_tokens
    types_hash_max_size types_hash_bucket_size server_names_hash_bucket_size server_names_hash_max_size
    variables_hash_max_size variables_hash_bucket_size map_hash_bucket_size map_hash_max_size
    proxy_headers_hash_max_size proxy_headers_hash_bucket_size types charset charset_types etag if_modified_since
    open_file_cache open_file_cache_valid open_file_cache_min_uses open_file_cache_errors reset_timedout_connection
    keepalive_requests keepalive_disable lingering_close lingering_time lingering_timeout send_timeout
    client_body_timeout client_header_timeout client_body_buffer_size client_body_temp_path client_body_in_file_only
    client_header_buffer_size large_client_header_buffers connection_pool_size request_pool_size ignore_invalid_headers
    underscores_in_headers merge_slashes absolute_redirect server_name_in_redirect port_in_redirect msie_padding
    chunked_transfer_encoding max_ranges recursive_error_pages proxy_http_version proxy_buffering proxy_buffers
    proxy_buffer_size proxy_busy_buffers_size proxy_temp_path proxy_max_temp_file_size proxy_temp_file_write_size
    proxy_request_buffering proxy_send_timeout proxy_socket_keepalive proxy_ignore_client_abort proxy_intercept_errors
    proxy_send_lowat proxy_headers_hash fastcgi_temp_path uwsgi_temp_path scgi_temp_path proxy_pass_header
    proxy_pass_request_headers proxy_pass_request_body grpc_buffer_size grpc_send_timeout keepalive keepalive_timeout
    keepalive_time zone resolver resolver_timeout ssl_session_cache ssl_session_timeout ssl_session_tickets
    ssl_session_ticket_key ssl_ciphers ssl_prefer_server_ciphers ssl_dhparam ssl_ecdh_curve ssl_buffer_size ssl_stapling
    ssl_stapling_verify ssl_trusted_certificate ssl_conf_command ssl_early_data ssl_handshake_timeout ssl_password_file
    ssl_verify_depth proxy_ssl_session_reuse proxy_ssl_protocols proxy_ssl_ciphers proxy_ssl_verify_depth gzip_vary
    gzip_proxied gzip_comp_level gzip_buffers gzip_http_version gzip_min_length gzip_disable gzip_static
    brotli_comp_level brotli_static brotli_min_length real_ip_recursive preread_buffer_size preread_timeout
    http2_max_concurrent_streams http2_max_field_size http2_max_header_size http2_recv_buffer_size http2_idle_timeout
    limit_req_log_level limit_conn_log_level limit_conn_status limit_req_status default_type index auth_delay
    tcp_user_timeout proxy_next_upstream_timeout proxy_upload_rate proxy_download_rate
""")
#: What the translation looks at.
HANDLED: Final = _names("""
    http stream server location upstream map if return rewrite set break proxy_pass grpc_pass proxy_set_header
    grpc_set_header proxy_hide_header add_header proxy_connect_timeout proxy_read_timeout grpc_read_timeout
    proxy_next_upstream proxy_next_upstream_tries proxy_redirect proxy_ssl_verify proxy_ssl_trusted_certificate
    proxy_ssl_name proxy_ssl_server_name proxy_ssl_certificate proxy_ssl_certificate_key proxy_ssl proxy_protocol
    proxy_timeout proxy_responses proxy_requests ssl_preread proxy_bind listen server_name ssl_certificate
    ssl_certificate_key ssl_client_certificate ssl_verify_client ssl_protocols ssl http2 client_max_body_size gzip
    gzip_types brotli brotli_types auth_basic auth_basic_user_file satisfy allow deny set_real_ip_from real_ip_header
    limit_req_zone limit_req internal root alias try_files fastcgi_pass uwsgi_pass scgi_pass memcached_pass autoindex
    stub_status fastcgi_param fastcgi_index fastcgi_split_path_info expires ip_hash least_conn hash random sticky
    auth_request auth_request_set auth_request_set limit_except mirror
""")
#: What answers from files or by other protocols.
ELSEWHERE: Final = (
    "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass", "stub_status", "autoindex", "try_files", "alias", "root")
#: What to do instead of some directives that have no counterpart.
ADVICE: Final[Mapping[str, str]] = {
    "limit_conn": "bound connections with `gateway.max_connections_per_source` or `max_connections` of the advertise policy",
    "limit_conn_zone": "bound connections with `gateway.max_connections_per_source`",
    "limit_rate": "bound bytes with `download_bytes_per_second` of the advertise policy, which is for relayed connections",
    "error_page": "write bodies of errors with `custom_errors` of the virtual host; another location cannot answer them",
    "proxy_cache": "nothing is cached: put a cache in front or behind",
    "proxy_cache_path": "nothing is cached: put a cache in front or behind",
    "proxy_cookie_path": "have the origin set its cookies for the path that clients see",
    "proxy_cookie_domain": "have the origin set its cookies for the domain that clients see",
    "proxy_method": "the method of a request is never changed",
    "proxy_set_body": "the body of a request is never changed",
    "sub_filter": "bodies are never changed",
    "geo": "ask for addresses in a `service_policy`",
    "split_clients": "share requests out by the `weight` of several destinations",
}

_VARIABLES: Final[Mapping[str, str]] = {
    "remote_addr": "CLIENT_ADDRESS", "binary_remote_addr": "CLIENT_ADDRESS", "realip_remote_addr": "PEER_ADDRESS",
    "proxy_protocol_addr": "CLIENT_ADDRESS", "remote_port": "PEER_PORT", "server_addr": "LOCAL_ADDRESS",
    "server_port": "LOCAL_PORT", "host": "HOST", "http_host": "HOST", "scheme": "SCHEME", "request_id": "REQUEST_ID",
    "request_method": "METHOD", "server_protocol": "PROTOCOL", "uri": "PATH", "document_uri": "PATH", "args": "QUERY",
    "query_string": "QUERY", "ssl_server_name": "SNI", "ssl_preread_server_name": "SNI", "ssl_protocol": "TLS_VERSION",
    "ssl_cipher": "TLS_CIPHER",
}
#: Those that only answers have.
_OF_ANSWERS: Final[Mapping[str, str]] = {"upstream_addr": "ENDPOINT", "status": "STATUS", "upstream_status": "STATUS"}
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def constant(text: str, known: Mapping[str, str]) -> str:
    """`text` with the variables whose value is known put in."""
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), text)


def variables(text: str) -> list[str]:
    """The names of variables in `text`."""
    return [found[1] or found[2] for found in _VARIABLE.finditer(text)]


def value(text: str, *, answer: bool = False) -> str | None:
    """A header's value with our names for the variables; None where one of them has none."""
    end, made = 0, []
    for found in _VARIABLE.finditer(text):
        name = found[1] or found[2]
        made.append(text[end:found.start()].replace("%", "%%"))
        end = found.end()
        ours = _VARIABLES.get(name) or (_OF_ANSWERS.get(name) if answer else None)
        if ours is not None:
            made.append(f"%{ours}%")
        elif name.startswith("http_"):
            made.append(f"%REQ({name[5:].replace('_', '-')})%")
        else:
            return None
    return "".join(made) + text[end:].replace("%", "%%")


class Address(NamedTuple):
    """What ``listen`` says."""

    listen: Listen
    tls: bool
    http2: bool
    default: bool
    proxied: bool
    quic: bool


def listen(directive: Directive) -> Address:
    """The address of a ``listen`` directive. Raises ValueError."""
    text, options = directive.args[0], directive.args[1:]
    datagrams = "udp" in options
    if text.startswith("unix:"):
        made = Listen(0, unix=text.removeprefix("unix:"))
    else:
        address: str | None
        if text.isdigit():
            address, port = None, text
        else:
            found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d+))?", text)
            if found is None:
                raise ValueError(f"{text!r} is no address")
            address, port = found[1].strip("[]"), found[2] or "80"
        if address in ("*", "0.0.0.0", "::"):
            address = None
        if not 0 < int(port) < 65536:
            raise ValueError(f"{port} is no port")
        made = Listen(int(port), address, datagrams=datagrams)
    return Address(made, "ssl" in options, "http2" in options, "default_server" in options or "default" in options,
                   "proxy_protocol" in options, "quic" in options or "http3" in options)


# -- conditions -------------------------------------------------------------------------------------------------------

class Never(Exception):  # no error: an outcome
    """The condition can never hold here."""


def condition(args: list[str], match: Match, scheme: str) -> Match:
    """`match` with the condition of an ``if``, on a host that is asked by `scheme`.

    Raises `Never` where it never holds, and ValueError where it cannot be said.
    """
    words = [word for word in args if word not in ("(", ")")]
    if words:
        words[0] = words[0].removeprefix("(")
        words[-1] = words[-1].removesuffix(")") if args[-1] != ")" else words[-1]
    words = [word for word in words if word] if len(words) != 3 else words
    name, how, wanted = (*words, "", "")[:3] if words else ("", "", "")
    if not name.startswith("$") or len(words) > 3 or len(words) == 2:
        raise ValueError("this condition looks at files, or at no variable")
    variable = name[1:].strip("{}")
    inverted = how.startswith("!")
    how = how.removeprefix("!")
    if how not in ("", "=", "~", "~*"):
        raise ValueError(f"there is no comparison {how!r}")
    if variable in ("scheme", "https"):
        mine = scheme if variable == "scheme" else "on" if scheme == "https" else ""
        holds = bool(mine) if how == "" else mine == wanted if how == "=" else re.search(wanted, mine) is not None
        if holds is inverted:
            raise Never
        return match
    if variable == "request_method":
        return _method(match, how, wanted, inverted)
    if variable in ("uri", "document_uri"):
        if inverted or how == "" or match.how not in ("any", "prefix") or match.how == "prefix" and match.path != "/":
            raise ValueError("a rule has one condition on its path")
        return _with(match, how="exact", path=wanted) if how == "=" else _with(
            match, how="regex", path=whole(wanted, ignore_case=how == "~*"))
    if variable in ("host", "http_host"):
        if how == "=":
            made = Condition("host", "regex", re.escape(wanted) + r"(?::[0-9]+)?", inverted)
        else:
            pattern = wanted.removesuffix("$") + "(?::[0-9]+)?$" if wanted.endswith("$") else wanted
            made = Condition("host", "regex", whole(pattern), inverted)
        return _with(match, headers=(*match.headers, made))
    for prefix, attribute in (("http_", "headers"), ("arg_", "query"), ("cookie_", "cookies")):
        if variable.startswith(prefix):
            asked = _asked(variable.removeprefix(prefix), how, wanted, inverted, attribute)
            before: tuple[Condition, ...] = getattr(match, attribute)
            return _with(match, **{attribute: (*before, asked)})
    raise ValueError(f"no rule can ask for ${variable}")


def _with(match: Match, **changed: object) -> Match:
    fields = {name: getattr(match, name) for name in Match.__slots__}
    return Match(**{**fields, **changed})


def _asked(name: str, how: str, wanted: str, inverted: bool, attribute: str) -> Condition:
    if attribute == "headers":
        name = name.replace("_", "-")
    if how == "" or how == "=" and wanted == "":
        absent = inverted if how == "" else not inverted
        if attribute == "query" and absent:
            raise ValueError("no rule can ask that a parameter of the query is absent")
        return Condition(name, "there", "", absent)
    if attribute == "query" and inverted:
        raise ValueError("no rule can ask that a parameter of the query is something else")
    return Condition(name, "exact" if how == "=" else "regex",
                     wanted if how == "=" else whole(wanted, ignore_case=how == "~*"), inverted)


def _method(match: Match, how: str, wanted: str, inverted: bool) -> Match:
    if how == "=":
        chosen = {wanted}
    elif how in ("~", "~*"):
        chosen = {each for each in METHODS if re.search(wanted, each, re.IGNORECASE if how == "~*" else 0)}
    else:
        return match
    if inverted:
        chosen = set(METHODS) - chosen
    chosen &= METHODS if not match.methods else set(match.methods)
    if not chosen:
        raise Never
    return _with(match, methods=tuple(sorted(chosen)))
