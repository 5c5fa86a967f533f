"""Every code that a configuration error can have, with the paragraph that explains it.

Codes are stable: a number is never used again for something else. ``voltgw check --explain CODE`` and the code's page in the
docs show the paragraph with an example (`voltgw.config.mistake`). VG00xx: files and YAML. VG01xx: one field or object. VG02xx:
rules between objects. VG03xx: building. VG04xx: what is allowed but hardly meant (``voltgw check`` only).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Code(NamedTuple):
    """One code: what it is called, and what one should know of it."""

    title: str
    text: str


CODES: Final[dict[str, Code]] = {
    # -- files and YAML ----------------------------------------------------------------------------------------------
    "VG0001": Code(
        "Not YAML",
        "The file cannot be taken apart. The place is where the parser noticed; the mistake is often on the line "
        "above: a missing space after a colon, an indent that differs from its neighbours, a quote or bracket that "
        "is never closed. Nothing after that place was read, so mend this one first.",
    ),
    "VG0002": Code(
        "File cannot be read",
        "A file that was named (on the command line, under `include:`, or behind a `file:` URL) does not exist or "
        "may not be read by this user. Paths are relative to the file they stand in.",
    ),
    "VG0003": Code(
        "Not text",
        "Configuration is UTF-8 text. The file holds bytes that are not, or control characters; it may have been "
        "saved in another encoding, or not be a configuration file at all.",
    ),
    "VG0004": Code(
        "Too large",
        "Files, nesting and what YAML aliases may stand for are bounded, so that a hostile file cannot take all "
        "memory. Spread many objects over several files and write repeated parts under `defaults:`.",
    ),
    "VG0005": Code(
        "Key stands twice",
        "A mapping has the same key twice. YAML forbids it, and many programs silently take the last one; here it "
        "is an error, because one of the two values would be lost.",
    ),
    "VG0006": Code(
        "Tag",
        "YAML tags (`!!str`, `!!python/object`, `!Ref`) are not read: the schema decides what a value is, and what "
        "is written stays what it is. Remove the tag, and quote the value if need be.",
    ),
    "VG0007": Code(
        "Include matches nothing",
        "A pattern under `include:` matches no file. That may be meant (an empty folder), so it is a warning; a "
        "path without `*` or `?` that does not exist is an error.",
    ),
    "VG0008": Code(
        "Variable not set",
        "`${NAME}` stands for an environment variable, which is not set. Set it, give a default with "
        "`${NAME:-default}`, or write `$${` for the characters themselves. Variables act in voltgw's own files "
        "only, never in object files that are included.",
    ),
    # -- one field or object -----------------------------------------------------------------------------------------
    "VG0101": Code(
        "Unknown field",
        "No field of this name exists here. Fields are never ignored, because a misspelt one would silently have no "
        "effect. Both snake_case and lowerCamelCase are read.",
    ),
    "VG0102": Code(
        "Wrong type",
        "The value is of another kind than the field wants: a list where a mapping is meant, a word where a number "
        "is meant. Only `true` and `false` are Booleans; `yes`, `no`, `on` and `off` are words.",
    ),
    "VG0103": Code(
        "Out of limits",
        "The value is larger, smaller, longer or has more items than the object model allows. The limits of each "
        "field stand in the configuration reference.",
    ),
    "VG0104": Code(
        "Unknown spelling",
        "The field takes one of a fixed list of words, spelt exactly, in capitals where the list has capitals. "
        "Unknown spellings are refused: other tools take the first of the list for them, which is hardly ever what "
        "was meant.",
    ),
    "VG0105": Code(
        "Something is missing",
        "The field or part that the message names must be there; `null` counts as absent. Groups of which one member "
        "must be set may be left out where the object model has a harmless member to take instead.",
    ),
    "VG0106": Code(
        "These exclude each other",
        "The fields are members of one group, of which at most one may be set. Remove one of the two; `null` counts "
        "as absent.",
    ),
    "VG0107": Code(
        "Not found",
        "The object that is referred to does not exist in any file. A reference without a namespace means the "
        "referrer's own namespace, and for some kinds also `shared` or `system`. For clusters, "
        "`gateway.on_dangling: serve_503` makes this a warning: requests for it are then answered 503.",
    ),
    "VG0108": Code(
        "Unknown kind",
        "No kind of object has this name. Every kind of the object model is known, even those that are not acted on "
        "yet; so this is most likely a typing error.",
    ),
    "VG0109": Code(
        "Object stands twice",
        "Two objects have the same kind, namespace and name. Which one would be used must not depend on the order "
        "of files, so remove or rename one.",
    ),
    "VG0110": Code(
        "Wrong form",
        "The text does not have the form that the field wants: an address, a host name, a path, a header name, "
        "base64 after `string:///`.",
    ),
    "VG0111": Code(
        "Wrong unit",
        "A duration or size is a plain number in the field's own unit (the reference names it; milliseconds for "
        "proxy timeouts, seconds for health checks) or a number with a unit: `250ms`, `30s`, `5m`, `64KiB`.",
    ),
    "VG0112": Code(
        "Regular expression",
        "Patterns are those of RE2, which has no look-around and no back-references, and must match the whole "
        "value. A pattern whose repeats are nested so that a text can be divided among them in very many ways is "
        "refused, because it could hold up all other traffic.",
    ),
    "VG0113": Code(
        "Item stands twice",
        "The list may hold each item only once. Items are compared as they are read, so two spellings of one domain "
        "count as the same.",
    ),
    "VG0114": Code(
        "Not acted on yet",
        "The field is part of the object model and was read and checked, but voltgw does nothing with it yet. What "
        "happens instead stands in the message or in the reference. It is a warning because ignoring the field "
        "admits nobody whom it would refuse.",
    ),
    "VG0115": Code(
        "Protection not acted on yet",
        "The field exists to refuse someone (a firewall, a login, a rate limit, a client certificate, TLS to the "
        "endpoint), and voltgw does not act on it yet. Serving without it would admit what it should refuse, so "
        "this is an error. If you accept that, name the field under `gateway.allow_unenforced`; the log and "
        "`/ready` then say so.",
    ),
    "VG0116": Code(
        "Not supported yet",
        "The value is part of the object model, but voltgw cannot do it yet, and nothing else would do in its "
        "place.",
    ),
    "VG0117": Code(
        "Kind not acted on yet",
        "Objects of this kind are read and kept, but voltgw does nothing with them yet.",
    ),
    "VG0118": Code(
        "Name hides another",
        "A reference without a namespace finds an object in the referrer's namespace, although one of the same name "
        "lives in `shared` or `system` too. Write the namespace to say which is meant.",
    ),
    "VG0119": Code(
        "Refers to a disabled object",
        "The object that is referred to has `metadata.disable: true` and is out of service, so the reference has no "
        "effect.",
    ),
    # -- rules between objects ---------------------------------------------------------------------------------------
    "VG0201": Code(
        "Address and port cannot be shared",
        "Two virtual hosts are offered on the same address and port, and their kinds of proxy cannot share it. "
        "Several HTTP_PROXY hosts may share one, several HTTPS_PROXY and TCP_PROXY_WITH_SNI hosts may share one; "
        "TCP_PROXY, UDP_PROXY and SMA_PROXY need one alone. TCP and UDP on one port number do not meet.",
    ),
    "VG0202": Code(
        "Domain has two owners",
        "Two virtual hosts on the same address and port have the same domain. Requests for it could go to either, "
        "so one of them must give it up.",
    ),
    "VG0203": Code(
        "Route does not fit the proxy",
        "A virtual host that relays connections (TCP_PROXY) needs a route whose rules have only destinations: there "
        "is no path to match and nothing to redirect. Matches in such rules are ignored.",
    ),
    "VG0204": Code(
        "Offered nowhere",
        "The virtual host has no advertise policy that applies to this site. It opens no port and is published "
        "nowhere.",
    ),
    "VG0205": Code(
        "Clash with the admin interface",
        "An address and port of the admin interface is also that of a virtual host, or an endpoint points at it. "
        "Traffic must never reach the admin interface.",
    ),
    "VG0206": Code(
        "Endpoint stands twice",
        "Two endpoints of one cluster have the same address, port and protocol. The first one counts; the other is "
        "left out.",
    ),
    "VG0207": Code(
        "Prefix is not a segment",
        "A path prefix is a byte prefix: `/api` also takes `/apiary`. If whole segments are meant, write `voltgw: "
        "{segment_prefix: true}` in the rule, or end the prefix with `/` and add a second match for the path "
        "without it.",
    ),
    "VG0208": Code(
        "Time limits contradict",
        "A limit for one try is no shorter than that for all tries together, or a health check's timeout is longer "
        "than its interval; the longer one can never act.",
    ),
    "VG0209": Code(
        "No share",
        "All destinations of a rule have the weight 0, so none of them would get a request.",
    ),
    "VG0210": Code(
        "Addresses overlap",
        "One virtual host is offered on all addresses of a port and another on a single address of the same port. "
        "The system cannot open both at once.",
    ),
    "VG0211": Code(
        "Virtual host serves nothing",
        "The virtual host has no route, so every request for it is answered 404.",
    ),
    "VG0212": Code(
        "Domain may not be shared",
        "A virtual host with the bare domain `*` shares its address and port with others that choose by name. Give "
        "it names, or an address and port of its own.",
    ),
    "VG0213": Code(
        "Cluster without endpoints",
        "The cluster has no endpoint, so every request for it is answered 503.",
    ),
    "VG0214": Code(
        "Network that this site does not have",
        "The advertise policy has no address, and names a network other than the inside, the outside or the public one. "
        "Its listener would open on the outside address, where clients are whom the policy was not meant for. Naming both the "
        "inside and the outside network is a warning: only the outside one is opened.",
    ),
    "VG0215": Code(
        "SMA outside the inside network",
        "An SMA_PROXY gives a site access to a store of secrets. It may be offered on the site's inside network alone: its "
        "policy needs `where: {site: {..., network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}}`, no `voltgw: {any_address: "
        "true}` and no `public_ip`.",
    ),
    "VG0216": Code(
        "PROXY header is not sent",
        "The cluster asks for PROXY headers of version 1 and a UDP_PROXY leads to it, but version 1 knows only TCP: endpoints "
        "are told nothing of UDP clients. Version 2 (`proxy_protocol_v2`) has a header for datagrams.",
    ),
    "VG0217": Code(
        "Labels that choose nobody",
        "A destination asks for labels, but their keys are none of the cluster's key sets in `endpoint_subsets`; no endpoint "
        "is chosen by them.",
    ),
    "VG0218": Code(
        "Endpoint of the other transport",
        "A relay speaks to its endpoints what it speaks to clients, TCP or UDP. The endpoint's `protocol` names the other one, "
        "so the port is probably not the one that was meant.",
    ),
    "VG0219": Code(
        "Two networks in one role",
        "A site has one outside and one inside network. Several virtual_network objects say that they are it and what it is on "
        "this host, and neither the site nor its fleet chooses: guessing could open a listener on the wrong side.",
    ),
    "VG0220": Code(
        "Address on the public network",
        "The public network's addresses are the operator's, who gives one out by himself. A policy for it names none; one that "
        "names an address is for the site's outside or inside network.",
    ),
    "VG0221": Code(
        "Names looked up in another network",
        "The endpoint stands in a network namespace for which no DNS server is known, so its name is looked up by the host's "
        "own resolver, in the host's own network. That may know the name by another address, or not at all.",
    ),
    "VG0222": Code(
        "Nothing is captured",
        "Connections of inside hosts are captured by rules for the interface, or in the network namespace, of the inside "
        "network. No virtual_network says what that is on this host.",
    ),
    "VG0223": Code(
        "No VIP left",
        "The site gives every policy that names no address one out of a range, and more policies want one than the range has "
        "addresses.",
    ),
    "VG0224": Code(
        "Byte rate of requests",
        "Bytes a second are kept of connections and sessions that are relayed. Requests of HTTP share connections, and are "
        "limited by their number.",
    ),
    "VG0230": Code(
        "Zone cannot be answered",
        "A delegated zone is declared twice, or its static records contradict each other, stand outside it or cannot be read.",
    ),
    "VG0231": Code(
        "Registry cannot be published in",
        "Two discovery objects keep names of one owner in one registry, so that each would take out what the other writes; "
        "the credentials for a registry are none; or it is this gateway's own DNS server, which takes no updates.",
    ),
    "VG0232": Code(
        "Registry cannot be asked",
        "An endpoint is a service in a registry, and no discovery object of this site says how such a registry is asked, or "
        "one does not say enough.",
    ),
    # -- building ----------------------------------------------------------------------------------------------------
    "VG0235": Code(
        "Rollout of nothing",
        "A rollout moves requests between two destinations of a rule. Its route has no rule with exactly those two, or they "
        "are one and the same: labels tell versions of one cluster apart only if their keys are a key set of the cluster's "
        "`endpoint_subsets`. Two rollouts cannot move the same requests.",
    ),
    "VG0236": Code(
        "Rollout that would be forgotten",
        "How far a rollout has come, and that it was rolled back, has to outlive the process: without a folder for it a "
        "restart would give a version that was rolled back its traffic again.",
    ),
    "VG0301": Code(
        "Cannot be built",
        "The object is well formed, but what serves cannot be made from it: a regular expression that cannot be "
        "matched in linear time, a rewrite that refers to a group that is not there.",
    ),
    "VG0302": Code(
        "No such extension",
        "A scheduler, probe, filter or other alternative is asked for by name, and no part of voltgw and no installed "
        "package offers it, or two packages claim the name.",
    ),
    "VG0303": Code(
        "Rule is never reached",
        "Rules are tried in order and the first that matches wins; there is no longest-prefix logic. An earlier rule "
        "of the same virtual host matches everything that this one does (or that one of its alternatives does), so no "
        "request gets here. Put the narrower rule first, or add to the earlier one the condition that is meant.",
    ),
    "VG0304": Code(
        "Domain is never chosen",
        "Of the domains on one listener the exact name comes first, then the longest wildcard (`*-eu.shop.example` "
        "before `*.shop.example`), then `*`; each first with the port of the request, then without. Another virtual "
        "host has this domain with the port of the listener, and so comes first for every name that it takes.",
    ),
    # -- allowed, but hardly meant -----------------------------------------------------------------------------------
    "VG0401": Code(
        "Certificate does not cover a domain",
        "Clients that ask for the domain will refuse the connection, since no certificate of the virtual host holds the "
        "name. Only the names under *subject alternative name* count, and a `*` in them stands for one whole label: "
        "`*.shop.example` covers neither `shop.example` nor `a.b.shop.example`.",
    ),
    "VG0402": Code(
        "Certificate is not valid now",
        "The certificate has expired, or is not valid yet, by the clock of this machine. It is shown all the same, and "
        "clients that look will refuse it.",
    ),
    "VG0403": Code(
        "Certificate expires soon",
        "The certificate ends within 30 days. Certificates are usually renewed earlier than that, so whatever should do "
        "it may have stopped. A new file behind a `file:` URL is taken by itself.",
    ),
    "VG0404": Code(
        "Key does not belong to the certificate",
        "The private key is not that of the first certificate of the chain, so no TLS connection could be made. Most often "
        "one of two files was renewed alone, or the chain does not begin with the leaf.",
    ),
    "VG0405": Code(
        "Certificate or key cannot be read",
        "The bytes are not a PEM certificate or an unencrypted PEM private key. DER files are turned into PEM by "
        "`openssl x509 -inform der`; a password is removed by `openssl pkey`.",
    ),
    "VG0406": Code(
        "Retries never happen",
        "The retry policy names conditions under which the endpoint may already have acted on the request, and the rule "
        "takes only methods that are not idempotent (POST, PATCH). Such requests are sent once, unless `voltgw: "
        "{retry_non_idempotent: true}` says that the endpoints can take them twice. Retries after connect-failure and "
        "refused-stream happen in any case.",
    ),
    "VG0407": Code(
        "Requests may be acted on twice",
        "With `hedge_on_per_try_timeout` a slow try goes on beside the next one, and with `retry_non_idempotent` this "
        "includes methods that are not idempotent: one POST of a client may then be done by two endpoints at once.",
    ),
    "VG0408": Code(
        "Stand-by without health checks",
        "Destinations of a lower priority take over when no endpoint of those before them is ready. A cluster without "
        "health checks (and without outlier detection) is judged by its connections alone, so one that answers every "
        "request with an error keeps its traffic.",
    ),
    "VG0409": Code(
        "Lost with the process",
        "The feature keeps something for later, such as the last good objects of a file, but only in memory: after a restart "
        "it is gone.",
    ),
    "VG0410": Code(
        "TLS cannot be set up",
        "What is said of TLS does not fit together, or the TLS library refuses it: no certificate, a key that is sealed, "
        "client certificates without a CA that vouches for them, a cipher suite that this system's OpenSSL has not.",
    ),
    "VG0411": Code(
        "Endpoints are not verified",
        "With `skip_server_verification` any certificate of an endpoint is accepted, so whoever stands between the gateway "
        "and the endpoint can read and change everything. Give the cluster the CA of its endpoints instead, and their name "
        "as `sni` or in `verify_subject_alt_names`; `skip_hostname_verification` at least keeps the CA.",
    ),
    "VG0412": Code(
        "Old versions of TLS",
        "TLS 1.0 and 1.1 have known weaknesses and are no longer part of the standards (RFC 8996). Browsers since 2020 and "
        "every current library speak TLS 1.2 or later.",
    ),
    "VG0413": Code(
        "Nobody there when the CA comes",
        "Before it issues a certificate, a CA comes to its names and looks whether they are ours: to port 443 for the "
        "challenge `tls-alpn-01`, to port 80 for `http-01`. Ports count as policies name them; `gateway.port_map` may bind "
        "others in their place, and something in front of the gateway may lead there.",
    ),
    "VG0414": Code(
        "Published in vain",
        "A registry in which names are published gets none, since no virtual host that is advertised has a domain that it can "
        "have; or a name is published with an address by which nobody else reaches this host.",
    ),
    "VG0415": Code(
        "Traces that nobody keeps",
        "`voltgw: {tracing: ...}` of a virtual host, route object or rule says which of its requests are recorded. Whether "
        "requests take part in traces at all, and where spans are sent, is for `gateway: {tracing: ...}` to say; without it "
        "nothing is.",
    ),
}
