TLS is spoken on the socket itself, through the system's OpenSSL 3 (``libssl.so.3``; without it, Python's ``ssl`` module serves with
fewer options and says which). A connection's certificate, client CA and versions are chosen by its ClientHello before any of TLS
begins; session tickets are encrypted under keys that rotate every 12 hours and are never taken by a host that asks for more;
handshakes are bounded in time, number and share of the CPU; plain HTTP on a TLS port is answered with 400.
