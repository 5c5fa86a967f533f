Retry policies with Envoy's conditions, pauses with full jitter and per-try timeouts, hedging, request buffering, mirroring, and
WebSocket upgrades.
