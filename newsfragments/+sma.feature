``SMA_PROXY``: a TCP relay on a site's inside network alone.
