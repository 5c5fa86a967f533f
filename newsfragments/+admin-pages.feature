The admin interface has pages for people: the state in one look, clusters with who is out and why, hosts, listeners with the days
their certificates have left, events, past requests, a form that explains a request, and the configuration with its places.
