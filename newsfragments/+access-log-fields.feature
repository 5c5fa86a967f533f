The access log says how a call of gRPC went (``grpc_status``), to which side of a rollout a request went (``rollout``), and how long a rate has kept a connection waiting (``slowed_s``).
