Clusters balance by LEAST_REQUEST, RING_HASH and LB_OVERRIDE as well, and by ``voltgw: {scheduler: maglev}`` or ``rendezvous``; large
tables are built without holding up requests.
