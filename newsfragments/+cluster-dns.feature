``publish_info: {dns_delegation: ...}`` of a Kubernetes cluster is done: CoreDNS's Corefile, or kube-dns's stub domains, forward the zone to this gateway; kept right, and taken out by policy.
