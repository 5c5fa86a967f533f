Among a thousand routes with any literal prefixes the right one is found by look-ups in tables, not by a search that grows with them; ``benchmarks/routing.py`` shows what it costs.
