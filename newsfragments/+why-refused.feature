``voltgw explain`` and ``voltgw why`` show what each condition of a service policy has looked at: address, host, method, path, fingerprint, names of the certificate.
