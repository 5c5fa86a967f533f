``dynamic_reverse_proxy`` of HTTP and HTTPS virtual hosts: requests go to whatever their Host resolves to, with the same guard on addresses.
