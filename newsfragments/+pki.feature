``voltgw pki init|issue|renew|revoke`` makes a small CA and its certificates for labs.
