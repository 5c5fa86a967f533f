Under systemd the gateway is a service of ``Type=notify``: ready when ``/ready`` is, reloading, stopping, with a watchdog and a status
line. It takes sockets that systemd hands over (``etc/voltgw.socket``), and leaves its own in systemd's store, so that a crash refuses
no client.
