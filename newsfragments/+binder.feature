Under ``twistd --uid`` a process with CAP_NET_BIND_SERVICE alone remains, so that reloads can open ports below 1024.
