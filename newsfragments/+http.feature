HTTP_PROXY virtual hosts serve HTTP/1.1 and 1.0: strict framing, keep-alive and pooled connections on both sides, routes by
host, path, header, query, method and port, weighted destinations, redirects and direct responses, header edits.
