Delegated zones tell resolvers the shortest prefix for which an answer by ``client_subnet`` holds (RFC 7871), so that they keep
one answer for all of its clients. Hints in HTTPS records name only addresses that every client is answered; a cluster of
weight 0 no longer keeps an address up; of several policies with one address, the first that says anything of DNS counts; and
``round_robin`` begins anywhere after a change of health, not always with the first address.
