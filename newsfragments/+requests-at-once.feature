``gateway: {max_requests_per_source: N}``: how many HTTP requests of one client address may be under way at a time; one more is answered 429.
