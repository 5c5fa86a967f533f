SIGHUP reloads without losing a request, SIGTERM drains; there are an access log, Prometheus metrics and an admin interface.
``voltgw demo``, ``run``, ``proxy``, ``check``, ``status``, ``clusters`` and ``reload`` are the commands.
