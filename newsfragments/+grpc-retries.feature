Calls of gRPC are tried again by their status: ``voltgw: {retry_grpc: [unavailable, …]}`` in a rule, a route or a virtual host names the codes.
