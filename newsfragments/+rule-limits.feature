``rate_limiter`` of a rule of a service policy: its limits count what the rule lets pass or leaves to the next policy, and answer 429 to what is too much.
