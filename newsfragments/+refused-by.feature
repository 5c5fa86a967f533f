``voltgw test``: ``expect: {refused_by: edge/no-admin}`` holds who refuses a request, ``nobody`` that it passes.
