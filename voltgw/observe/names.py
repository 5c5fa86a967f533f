"""Every metric that `/metrics` shows: a promise to dashboards; its page in the docs is made from this.

Names follow Prometheus: base units, ``_total`` for counters. Labels are names from the configuration, addresses of endpoints,
and words of ours, never something that a client sent; so their number is bounded by what the operator configured. Of routes and
endpoints only so many have time series of their own (``gateway.metrics``); the others are counted under ``_other``.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

MetricType = Literal["counter", "gauge", "histogram", "info"]


class MetricName(NamedTuple):
    """One metric; `labels` in the order in which the collector gives their values."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    meaning: str


_ROUTE: Final = ("virtual_host", "route")
_CLUSTER: Final = ("cluster",)
_ENDPOINT: Final = ("cluster", "endpoint")
_SIDE: Final = ("side",)
_LOG: Final = ("log",)
_LISTENER: Final = ("listener", "protocol")

METRICS: Final = (
    # The process.
    MetricName("voltgw_build_info", "info", ("version", "python", "twisted", "build"),
               "What runs, ``compiled`` or ``interpreted``; always 1."),
    MetricName("voltgw_start_time_seconds", "gauge", (), "When it started, seconds since the epoch."),
    MetricName("voltgw_ready", "gauge", (), "1 if it may be sent traffic, as /ready says."),
    MetricName("voltgw_draining", "gauge", (), "1 once it takes no new work."),
    MetricName("voltgw_inherited_sockets", "gauge", (),
               "Sockets that were open before the process was: of the process before (hot restart) or of systemd."),
    MetricName("voltgw_hot_restarts_failed_total", "counter", (),
               "Processes that were to take the place of this one and did not."),
    MetricName("voltgw_config_generation", "gauge", (),
               "The configuration that runs: 1 for that of the start, one more for each successful reload."),
    MetricName("voltgw_config_reloads_total", "counter", ("outcome",), "Reloads that were ``ok`` or ``rejected``."),
    MetricName("voltgw_config_kept_generation", "gauge", (),
               "The number under which the configuration that runs is kept in ``data_dir``; 0: it is not kept."),
    MetricName("voltgw_config_rolled_back", "gauge", (),
               "1 while a kept configuration serves instead of what the files say (``voltgw rollback``)."),
    MetricName("voltgw_config_rollbacks_total", "counter", (), "Times that another kept configuration was gone back to."),
    MetricName("voltgw_config_file_reloads_total", "counter", ("outcome",),
               "Reloads that files brought about that had changed (certificates, and with ``watch`` the configuration), those "
               "that were ``ok`` or ``rejected``."),
    MetricName("voltgw_config_last_success_timestamp_seconds", "gauge", (),
               "When the configuration that runs was taken over, seconds since the epoch."),
    MetricName("voltgw_open_streams", "gauge", (), "Connections open now, clients' and endpoints' together."),
    MetricName("voltgw_open_streams_limit", "gauge", (), "So many clients may be connected; then listeners pause."),
    MetricName("voltgw_overload_used", "gauge", ("resource",),
               "What the process has in use: ``memory`` in bytes (resident), ``open_files`` (descriptors); with workers, of "
               "all processes together."),
    MetricName("voltgw_overload_budget", "gauge", ("resource",), "How much of it there is (``gateway.overload``)."),
    MetricName("voltgw_overload_active", "gauge", ("resource", "action"),
               "Not 0 while the resource is so short that this is done (with workers: by how many processes): ``keep_alive`` "
               "(answers end connections), ``refuse`` (new requests are answered 503), ``accept`` (new connections wait), "
               "``reset`` (the largest connections are cut)."),
    MetricName("voltgw_overload_actions_total", "counter", ("resource", "action"), "Times that this has begun."),
    MetricName("voltgw_overload_resets_total", "counter", (), "Connections that were cut because memory is short."),
    MetricName("voltgw_overload_eased_total", "counter", (), "Connections that were asked to end because something is short."),
    MetricName("voltgw_overload_unpooled_total", "counter", (),
               "Idle connections to endpoints that were closed because something is short."),
    MetricName("voltgw_timers", "gauge", (), "Timed calls that wait, in the loop and in the reactor."),
    MetricName("voltgw_deadlines", "gauge", (), "Connections and requests that have a deadline."),
    MetricName("voltgw_loop_turns_total", "counter", (), "Turns of the data plane's event loop."),
    MetricName("voltgw_loop_slow_turns_total", "counter", (), "Turns that took longer than 20 ms."),
    MetricName("voltgw_loop_longest_turn_seconds", "gauge", (), "The longest turn since the start."),
    MetricName("voltgw_spliced_bytes_total", "counter", (),
               "Bytes of relays and of long bodies that the kernel carried through pipes, both ways."),
    MetricName("voltgw_splice_pipes", "gauge", (), "Pipes that hold something, each for a peer that is slow."),
    MetricName("voltgw_splice_refused_total", "counter", (),
               "Times that no pipe was left for a large flow, so that bytes were copied instead."),
    MetricName("voltgw_pre_opened_connections", "gauge", (), "Connections that stand ready at endpoints (``pre_open``)."),
    MetricName("voltgw_pre_opened_connections_used_total", "counter", (), "Those that a client got."),
    MetricName("voltgw_internal_failures_total", "counter", (),
               "Exceptions that only a connection's guard caught; each is a bug and stands in the log."),
    MetricName("voltgw_journal_records", "gauge", (), "Past requests that ``voltgw why`` can tell of."),
    MetricName("voltgw_journal_bytes", "gauge", (), "Memory that they take."),
    MetricName("voltgw_journal_failures_total", "counter", (), "Requests that could not be noted there; each is a bug."),
    MetricName("voltgw_admin_refused_total", "counter", ("reason",),
               "Requests that the admin interface has refused: for wrong ``credentials``, for their ``role``, or since "
               "``too_many`` wrong ones had come from their address."),
    MetricName("voltgw_probes_total", "counter", (), "Health probes that have ended."),
    MetricName("voltgw_probe_failures_total", "counter", (), "Those that failed."),
    MetricName("voltgw_forward_tunnels_total", "counter", (), "CONNECT that a forward proxy has answered 200."),
    MetricName("voltgw_forward_captured_total", "counter", (), "Connections that packet rules brought to a forward proxy."),
    MetricName("voltgw_forward_refused_total", "counter", ("reason",),
               "What forward proxies have refused: by a policy, for the address (private, loopback, ourselves), for a name "
               "that leads elsewhere, for silence, for a login."),
    MetricName("voltgw_forward_tls_total", "counter", ("action",),
               "TLS towards destinations: spliced (passed on), peeked (passed on once its origin was verified), opened for "
               "inspection, and of the opened those that the client has refused."),
    MetricName("voltgw_forward_certificates_total", "counter", (), "Certificates minted for inspection."),
    MetricName("voltgw_forward_lookups_total", "counter", ("outcome",),
               "Names of destinations put to resolvers, by outcome; crowded ones were not put, because too many were."),
    MetricName("voltgw_forward_origins", "gauge", (), "Destinations that forward proxies remember, with their connections."),
    MetricName("voltgw_tunnels_total", "counter", (), "Connections that switched protocols (WebSocket and other upgrades)."),
    MetricName("voltgw_open_tunnels", "gauge", (), "Those of them that are open now."),
    MetricName("voltgw_shadows_total", "counter", (), "Copies of requests sent for ``mirror_policy``."),
    MetricName("voltgw_open_shadows", "gauge", (), "Copies under way."),
    MetricName("voltgw_shadows_skipped_total", "counter", ("reason",),
               "Copies not sent: ``refused`` by a limit or for want of an endpoint, or the request was ``too_large``."),
    # HTTP/2, clients' connections (``downstream``) and endpoints' (``upstream``).
    MetricName("voltgw_http2_connections_total", "counter", _SIDE, "Connections that spoke HTTP/2."),
    MetricName("voltgw_http2_streams_total", "counter", _SIDE, "Streams that were opened on them."),
    MetricName("voltgw_http2_malformed_total", "counter", _SIDE, "Messages that were none; their streams were reset."),
    MetricName("voltgw_http2_refused_streams_total", "counter", _SIDE, "Streams above the limit of their connection."),
    MetricName("voltgw_http2_resets_total", "counter", (*_SIDE, "direction"),
               "Streams reset by the peer (``in``) and by us (``out``)."),
    MetricName("voltgw_http2_goaways_total", "counter", (*_SIDE, "direction"), "GOAWAY frames ``in`` and ``out``."),
    MetricName("voltgw_http2_faults_total", "counter", (*_SIDE, "reason"),
               "Connections that we ended: the peer broke the ``protocol``, spent the budget of a kind of frame (``resets``, "
               "``settings``, ``pings``, ``priorities``, ``window_updates``, ``empty_data``, ``strays``), or went over an "
               "``other`` limit."),
    MetricName("voltgw_grpc_responses_total", "counter", ("grpc_status",),
               "Answers of gRPC, endpoints' and our own, by their status: ``0`` to ``16``, or ``other``."),
    MetricName("voltgw_forward_policy_decisions_total", "counter", ("proxy", "policy", "rule", "action"),
               "What policies of forward proxies have decided: DENY refuses, ALLOW lets through. The rule end of the policies "
               "refuses what no policy has allowed."),
    MetricName("voltgw_service_policy_hits_total", "counter", ("virtual_host", "policy", "rule", "action"),
               "Requests for which a rule of a service policy held; ``DENY`` refuses. The rule ``end of the policies`` refuses "
               "what no policy has allowed, and ``REPORT`` changes nothing."),
    MetricName("voltgw_auth_requests_total", "counter", ("virtual_host", "method", "result"),
               "What came of asking requests for credentials, by their kind: ``accepted``, or why not (``missing``, "
               "``expired``, ``signature``, ``wrong_password`` and so on); ``reported`` counts those that passed all the same, "
               "in a dry run."),
    MetricName("voltgw_auth_keys", "gauge", ("url",), "Keys that verify tokens, by where they were fetched; 0 = none."),
    MetricName("voltgw_auth_keys_fetched_timestamp_seconds", "gauge", ("url",),
               "When they last came, in seconds since the epoch; 0 = never."),
    MetricName("voltgw_auth_key_fetches_total", "counter", ("url", "outcome"), "Fetches of them: ``ok`` or ``failed``."),
    MetricName("voltgw_security_verdicts_total", "counter", ("virtual_host", "gate", "policy", "verdict"),
               "What the gates of virtual hosts have said of requests and connections, by the policy, limit or method that "
               "said so: ``allowed``, ``refused``, ``exempt`` of a limit, or ``reported``, which would have been refused."),
    MetricName("voltgw_rate_limit_users", "gauge", ("virtual_host", "limiter"), "Users that a rate limit remembers."),
    MetricName("voltgw_rate_limit_users_forgotten_total", "counter", ("virtual_host", "limiter"),
               "Users that made room for others while they still owed something; they begin anew."),
    # Listeners.
    MetricName("voltgw_listener_bound", "gauge", (*_LISTENER, "kind"), "1 if the port is bound."),
    MetricName("voltgw_network_present", "gauge", ("network",),
               "1 if the network is there: its namespace and its interface. Only networks that have one of these are shown."),
    MetricName("voltgw_network_losses_total", "counter", (), "Times that a network went."),
    MetricName("voltgw_vip_present", "gauge", ("address", "network", "interface"),
               "1 if an explicit VIP stands on its interface, whoever has put it there; 0 if it cannot be added."),
    MetricName("voltgw_certificate_expiry_timestamp_seconds", "gauge", (*_LISTENER, "name", "fingerprint"),
               "When a certificate that is shown ends (epoch seconds): its first name, and the begin of its SHA-256."),
    MetricName("voltgw_acme_orders_total", "counter", ("result",),
               "Tries to have a certificate fetched, by how they ended: ``issued``, ``refused`` by the CA, ``limited`` by it, "
               "``unreachable``, ``failed`` here."),
    MetricName("voltgw_acme_certificates", "gauge", ("state",),
               "Certificates that are to be fetched: ``pending``, ``failed`` (there is none, and a try has failed), ``valid``, "
               "``expired``."),
    MetricName("voltgw_listener_connections_total", "counter", _LISTENER, "Connections accepted."),
    MetricName("voltgw_listener_open_connections", "gauge", _LISTENER, "Connections open now."),
    MetricName("voltgw_listener_pauses_total", "counter", (*_LISTENER, "reason"),
               "Times that accepting stopped: at the ``limit`` of connections, at their ``rate``, for want of "
               "``descriptors``, or for ``overload`` (``gateway.overload``)."),
    MetricName("voltgw_listener_paced_total", "counter", _LISTENER,
               "Times that a relayed connection was not read for a while, since it had sent more than its byte rate allows."),
    MetricName("voltgw_listener_refused_total", "counter", (*_LISTENER, "reason"),
               "Connections closed at once; ``source``: their address holds a quarter of all that may be open; "
               "``proxy_header``: not from a trusted proxy, or without a PROXY header."),
    MetricName("voltgw_listener_bytes_total", "counter", (*_LISTENER, "direction"), "Bytes ``in`` and ``out``."),
    MetricName("voltgw_listener_bad_requests_total", "counter", _LISTENER, "Bytes that were no valid request."),
    MetricName("voltgw_listener_timeouts_total", "counter", _LISTENER, "Clients that were too slow."),
    MetricName("voltgw_listener_tls_handshakes_total", "counter", (*_LISTENER, "version"), "Finished TLS handshakes."),
    MetricName("voltgw_listener_tls_resumed_total", "counter", _LISTENER, "Those of them that resumed a session."),
    MetricName("voltgw_listener_tls_failures_total", "counter", (*_LISTENER, "reason"),
               "TLS connections that came to nothing: ``refused`` (no hello that is accepted, or of a name that nobody has), "
               "``failed`` in the handshake, ``timeout``, ``crowded`` (too many were under way)."),
    MetricName("voltgw_listener_datagrams_total", "counter", (*_LISTENER, "direction"),
               "UDP: datagrams ``in`` from clients and ``out`` to them. Connections are sessions there."),
    MetricName("voltgw_listener_datagrams_dropped_total", "counter", (*_LISTENER, "reason"),
               "UDP: datagrams that went nowhere. A session could not begin (``full``, ``source``, ``rate`` and "
               "``session_rate`` are bounds, ``own`` an address of ours, ``proxy_header`` missing or from a "
               "stranger, ``draining``, ``overload``, ``no_endpoint``, ``overflow`` of the cluster, ``descriptors``), or "
               "one could not be sent (``unreachable``, ``blocked``, ``too_long``, ``unsent``; ``byte_rate``: the session "
               "has its most bytes; ``unproven``: a QUIC client's "
               "new address has to send more first)."),
    MetricName("voltgw_listener_sessions_evicted_total", "counter", _LISTENER,
               "UDP: sessions that no endpoint had answered and that made room for new ones."),
    MetricName("voltgw_listener_sessions_moved_total", "counter", _LISTENER,
               "UDP: how often the client of a QUIC connection has come from another address (``quic_connection_ids``)."),
    # Virtual hosts and routes.
    MetricName("voltgw_requests_total", "counter", (*_ROUTE, "code_class"),
               "Requests by the class of the status that the client was sent, ``none`` if nothing was; for TCP, "
               "connections. Without host and route: what no route took. A route appears with its first request."),
    MetricName("voltgw_request_bytes_total", "counter", _ROUTE, "Bytes from clients, heads included."),
    MetricName("voltgw_response_bytes_total", "counter", _ROUTE, "Bytes to clients, heads included."),
    MetricName("voltgw_request_duration_seconds", "histogram", _ROUTE,
               "From the request's beginning to the last byte of its answer; for TCP, how long connections lived."),
    MetricName("voltgw_response_flags_total", "counter", (*_ROUTE, "flag"),
               "Requests and connections that went wrong or were held back on purpose, by response flag (Envoy's letters)."),
    # Clusters.
    MetricName("voltgw_cluster_requests_total", "counter", _CLUSTER, "Requests, for TCP connections, given an endpoint."),
    MetricName("voltgw_cluster_request_duration_seconds", "histogram", _CLUSTER,
               "From the first byte of a request to its endpoint to the last byte of the answer; HTTP, once that is over."),
    MetricName("voltgw_cluster_responses_total", "counter", (*_CLUSTER, "code_class"), "Answers of its endpoints."),
    MetricName("voltgw_cluster_tls_unverified", "gauge", _CLUSTER,
               "1 if any certificate of its endpoints is accepted; only clusters that are reached by TLS."),
    MetricName("voltgw_cluster_connects_total", "counter", _CLUSTER, "Connections made to its endpoints."),
    MetricName("voltgw_cluster_connect_failures_total", "counter", _CLUSTER, "Connections refused or timed out."),
    MetricName("voltgw_cluster_no_endpoint_total", "counter", _CLUSTER, "Requests that found no endpoint ready."),
    MetricName("voltgw_cluster_overflows_total", "counter", _CLUSTER, "Requests refused at a limit of the cluster."),
    MetricName("voltgw_cluster_resets_total", "counter", _CLUSTER, "Connections that ended before their answer did."),
    MetricName("voltgw_cluster_retries_total", "counter", _CLUSTER, "Further tries."),
    MetricName("voltgw_cluster_timeouts_total", "counter", _CLUSTER, "Answers that did not begin or go on in time."),
    MetricName("voltgw_cluster_active_requests", "gauge", _CLUSTER, "Requests under way."),
    MetricName("voltgw_cluster_pending_requests", "gauge", _CLUSTER, "Requests that wait for a connection."),
    MetricName("voltgw_cluster_open_connections", "gauge", _CLUSTER, "Connections open to its endpoints."),
    MetricName("voltgw_cluster_concurrency_limit", "gauge", _CLUSTER,
               "Requests that may be under way now; absent without ``adaptive_concurrency``."),
    MetricName("voltgw_cluster_endpoints", "gauge", (*_CLUSTER, "state"), "Endpoints ``ready`` and ``not_ready``."),
    MetricName("voltgw_cluster_health_checks_total", "counter", (*_CLUSTER, "health_check", "result"),
               "Results of probes, by health check: ``passed`` or ``failed``."),
    MetricName("voltgw_cluster_outliers_total", "counter", (*_CLUSTER, "reason"),
               "Times that an endpoint was found to be an outlier, by what it was found."),
    MetricName("voltgw_cluster_ejections_total", "counter", (*_CLUSTER, "reason"), "Those that led to an ejection."),
    MetricName("voltgw_cluster_ejections_overflow_total", "counter", _CLUSTER,
               "Those that did not, because enough endpoints were ejected (``max_ejection_percent``)."),
    # Endpoints.
    MetricName("voltgw_endpoint_ready", "gauge", _ENDPOINT, "1 if it may be given requests."),
    MetricName("voltgw_endpoint_healthy", "gauge", _ENDPOINT,
               "What its health checks say: 1 or 0; absent while they have said nothing, or if there are none."),
    MetricName("voltgw_endpoint_ejected", "gauge", _ENDPOINT, "1 while outlier detection keeps it out; absent without that."),
    MetricName("voltgw_endpoint_requests_total", "counter", _ENDPOINT, "Requests, for TCP connections, given to it."),
    MetricName("voltgw_endpoint_responses_total", "counter", (*_ENDPOINT, "code_class"),
               "Its answers; from its first request on."),
    MetricName("voltgw_endpoint_request_duration_seconds", "histogram", _ENDPOINT,
               "The same for each endpoint; only with ``gateway.metrics.endpoint_durations``."),
    MetricName("voltgw_endpoint_connect_failures_total", "counter", _ENDPOINT, "Connections refused or timed out."),
    MetricName("voltgw_endpoint_active_requests", "gauge", _ENDPOINT, "Requests under way at it."),
    MetricName("voltgw_endpoint_open_connections", "gauge", _ENDPOINT, "Connections open to it, idle ones included."),
    MetricName("voltgw_endpoint_idle_connections", "gauge", _ENDPOINT, "Connections in its pool."),
    # Rollouts.
    MetricName("voltgw_rollout_weight_percent", "gauge", ("rollout",),
               "What the candidate gets now; absent where the configured weights hold."),
    MetricName("voltgw_rollout_step", "gauge", ("rollout",), "The present step, from 1."),
    MetricName("voltgw_rollout_state", "gauge", ("rollout", "state"),
               "1 for the state it is in: ``ramping``, ``approval`` (it waits for that), ``paused``, ``rolled_back`` or "
               "``promoted``."),
    MetricName("voltgw_rollout_requests_total", "counter", ("rollout", "version"),
               "Requests that the ``candidate`` or the ``baseline`` got through this rollout, since the start."),
    MetricName("voltgw_rollout_failures_total", "counter", ("rollout", "version"),
               "Those of them that failed: no answer, half an answer, status 5xx, or saved by another try only."),
    MetricName("voltgw_rollout_kept", "gauge", ("rollout",),
               "0 while its state cannot be written, so that a restart forgets it."),
    # Workers.
    MetricName("voltgw_workers", "gauge", (), "Data-plane processes that there shall be; 0 = one process for everything."),
    MetricName("voltgw_worker_up", "gauge", ("worker",), "1 while a worker serves, 0 while it is started or drains."),
    MetricName("voltgw_worker_respawns_total", "counter", ("worker",), "How often it had to be started again."),
    MetricName("voltgw_worker_connections_total", "counter", ("worker",),
               "Connections that it has accepted, those of all processes in its place together."),
    MetricName("voltgw_worker_open_connections", "gauge", ("worker",), "Client connections that it has open."),
    # Registries of services.
    MetricName("voltgw_discovery_state", "gauge", ("discovery", "state"),
               "1 for the state of a registry: ``pending`` (it has not answered yet), ``bound``, ``failed`` (what it said "
               "stays)."),
    MetricName("voltgw_discovery_requests_total", "counter", ("discovery",), "Requests to it."),
    MetricName("voltgw_discovery_failures_total", "counter", ("discovery",), "Answers that did not come, or were none."),
    MetricName("voltgw_discovery_turned_away_total", "counter", ("discovery",),
               "Instances that had an address which it may not name."),
    MetricName("voltgw_discovery_instances", "gauge", ("discovery", "service"), "Instances of a service that may be used."),
    # Where clients are.
    MetricName("voltgw_geo_database_built_timestamp_seconds", "gauge", ("type",),
               "When a database of countries or autonomous systems was built."),
    MetricName("voltgw_geo_database_problem", "gauge", (), "1 while a newer file of it cannot be used."),
    # The DNS server.
    MetricName("voltgw_dns_queries_total", "counter", ("transport", "type"), "Queries that came, by ``udp`` or ``tcp``."),
    MetricName("voltgw_dns_answers_total", "counter", ("rcode",), "Answers that were sent, by their RCODE."),
    MetricName("voltgw_dns_truncated_total", "counter", (), "Answers that said \"ask by TCP\"."),
    MetricName("voltgw_dns_rate_limited_total", "counter", ("action",),
               "Answers beyond the rate of their client's network that were ``dropped`` or ``truncated``."),
    MetricName("voltgw_dns_unanswered_total", "counter", ("reason",), "Messages that are never answered."),
    MetricName("voltgw_dns_unverified_total", "counter", ("error",),
               "Queries whose TSIG did not hold: ``BADKEY``, ``BADSIG`` or ``BADTIME``."),
    MetricName("voltgw_dns_signatures_total", "counter", (), "Signatures made for answers of signed zones."),
    MetricName("voltgw_dns_transfers_total", "counter", ("result",),
               "Zones that were asked for by TCP: handed over (``full``), ``current`` already, ``refused``, or too many at "
               "once (``busy``)."),
    MetricName("voltgw_dns_notifies_total", "counter", ("result",),
               "Messages to secondaries that a zone has changed: ``sent``, ``unsent`` (there is no way to it), ``answered``, "
               "``refused``, or ``given_up``."),
    # Names that are published in registries of others; `registry` is its kind, such as ``dns_update``.
    MetricName("voltgw_publish_names", "gauge", ("object", "registry", "state"),
               "Names by how they stand: ``pending``, ``bound``, ``withdrawn`` (held without an address), ``failed``, "
               "``foreign`` "
               "(another's), ``planned`` (dry run), ``removing``."),
    MetricName("voltgw_publish_failing", "gauge", ("object", "registry"),
               "1 while the registry cannot be brought up to date."),
    MetricName("voltgw_publish_synced_timestamp_seconds", "gauge", ("object", "registry"),
               "When the registry was last seen to be as it should be, seconds since the epoch; 0 = never."),
    MetricName("voltgw_publish_writes_total", "counter", ("object", "registry", "action"),
               "Writes that the registry has taken: ``create``, ``replace`` (also as a repair) or ``remove``."),
    MetricName("voltgw_publish_refused_total", "counter", ("object", "registry", "reason"),
               "Writes that it has not taken: the name is another's (``foreign``), or ``other`` reasons."),
    MetricName("voltgw_publish_rounds_total", "counter", ("object", "registry", "result"),
               "Looks at the registry that were ``done`` or ``failed``."),
    MetricName("voltgw_events_total", "counter", ("kind",), "Structured events, by their kind."),
    MetricName("voltgw_process_log_lines_total", "counter", (), "Events that were written to the process log."),
    MetricName("voltgw_process_log_dropped_total", "counter", ("reason",),
               "Those that were lost: the reader ``blocked``, or writing ``failed``."),
    # The access log.
    MetricName("voltgw_access_log_lines_total", "counter", _LOG, "Lines handed to the file, or to whoever takes them."),
    MetricName("voltgw_access_log_bytes_total", "counter", _LOG, "Bytes written."),
    MetricName("voltgw_access_log_left_out_total", "counter", _LOG, "Records that ``only`` or ``sample`` has left out."),
    MetricName("voltgw_access_log_queued", "gauge", (), "Records that wait to be formatted."),
    MetricName("voltgw_access_log_dropped_total", "counter", ("log", "reason"),
               "Lines lost: the reader ``blocked``, writing ``failed``, or a bug in the ``format``; without a log: "
               "records, since the ``queue`` was full."),
    # Traces; only with ``gateway.tracing``.
    MetricName("voltgw_trace_requests_total", "counter", ("reason",),
               "Requests that were recorded: their trace was ``sampled``, or they ended with an ``error``, or were ``slow``; "
               "and those that were ``skipped``, as there were too many in that second."),
    MetricName("voltgw_trace_failures_total", "counter", (), "Requests of which no spans could be made; each is a bug."),
    MetricName("voltgw_trace_spans_sent_total", "counter", (), "Spans that the collector has taken."),
    MetricName("voltgw_trace_spans_dropped_total", "counter", ("reason",),
               "Spans lost: the ``queue`` was full, the collector has ``rejected`` them, or they were ``unsent`` too long."),
    MetricName("voltgw_trace_exports_total", "counter", ("outcome",),
               "Requests to the collector that were ``ok``, ``retried`` later, or ``failed`` for good."),
    MetricName("voltgw_trace_spans_queued", "gauge", (), "Spans that wait to be sent, or for the collector's answer."),
    # How the process fares.
    MetricName("voltgw_loop_turn_duration_seconds", "histogram", (),
               "Turns of the data plane's event loop: whoever becomes ready meanwhile waits so long."),
    MetricName("voltgw_timer_lateness_seconds", "histogram", (),
               "How much later than due timers ran, the first of each time: whatever has held the process up shows here."),
    MetricName("voltgw_gc_pause_seconds", "histogram", ("generation",),
               "Runs of Python's cycle collector, in which everything waits; of the generations 0 (young) to 2 (all that is "
               "not there to stay)."),
    MetricName("voltgw_gc_freed_objects_total", "counter", (), "Objects in cycles that it has found and freed."),
    # prometheus_client's own, from /proc.
    MetricName("process_cpu_seconds_total", "counter", (), "CPU time of the process, user and system."),
    MetricName("process_resident_memory_bytes", "gauge", (), "Memory in use."),
    MetricName("process_virtual_memory_bytes", "gauge", (), "Address space in use."),
    MetricName("process_start_time_seconds", "gauge", (), "When the process started, seconds since the epoch."),
    MetricName("process_open_fds", "gauge", (), "Open file descriptors."),
    MetricName("process_max_fds", "gauge", (), "So many may be open."),
)
