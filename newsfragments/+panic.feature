``panic_threshold`` of a cluster: below this healthy share health is ignored and all endpoints are used.
