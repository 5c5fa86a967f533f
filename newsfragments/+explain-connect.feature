``voltgw explain FILE CONNECT host:443 --from IP`` says what becomes of a tunnel, and which rule says so.
