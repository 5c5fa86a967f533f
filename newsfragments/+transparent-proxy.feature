Captured connections of hosts whose default route leads to the gateway go through the same policies; a name that does not lead to the address that was meant is refused.
