``ip_prefix_set``: ``voltgw: {file: blocked.txt}`` reads addresses and prefixes from a file; a new file is taken within seconds and touches only the virtual hosts that use the set.
