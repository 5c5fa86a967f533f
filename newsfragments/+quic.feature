``voltgw: {quic_connection_ids: true}`` of a ``UDP_PROXY`` host: a QUIC connection keeps its endpoint when its client's address changes.
