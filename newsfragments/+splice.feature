Large TCP flows are relayed inside the kernel (``splice(2)`` through pooled pipes); ``voltgw_spliced_bytes_total`` and ``voltgw_splice_refused_total`` show how much goes that way.
