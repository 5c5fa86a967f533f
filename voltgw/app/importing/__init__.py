"""Other proxies' configurations as configurations of voltgw: one reader for each language, one model, one writer."""
