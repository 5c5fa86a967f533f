Rules of service policies judge by ``request_constraints`` (counts and sizes of cookies, headers, parameters, query, request line and URL).
