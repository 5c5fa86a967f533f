Metrics for upgraded connections and for the copies of ``mirror_policy``; the limits of retries, replays and copies stand on the
page of defaults.
