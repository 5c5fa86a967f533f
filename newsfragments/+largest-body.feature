``voltgw: {max_request_body: 10MiB}`` on a virtual host, a route object or a rule bounds request bodies that are passed on as they
come: larger ones are answered with 413.
