Listeners and endpoints may be Unix sockets: ``voltgw: {unix: PATH}`` on an ``advertise_policy`` (with ``unix_mode``) and on an ``endpoint``, for HTTP and TCP.
