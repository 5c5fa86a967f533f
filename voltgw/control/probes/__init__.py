"""Active health checks: the prober decides when, one file for each kind of probe says how."""
