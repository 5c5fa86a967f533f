``voltgw check`` also tells of what is allowed but hardly meant: rules and domains that are never reached, certificates that expire, do not
cover their domains or do not fit their key, retries that never happen, stand-by destinations that nobody watches.
