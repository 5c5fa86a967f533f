``upstream_conn_pool_reuse_type: {disable_conn_pool_reuse: {}}``: no two clients share a connection to an endpoint.
