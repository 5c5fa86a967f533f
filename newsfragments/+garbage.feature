Python's cycle collector is kept out of the way: what the configuration makes is never gone over, reloads leave nothing for it, and its pauses stay below 2 ms
with 100,000 endpoints. ``voltgw_gc_pause_seconds`` and ``voltgw_gc_freed_objects_total`` show what it does.
