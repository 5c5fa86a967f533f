"""``voltgw simulate``: the real data plane and control plane on a clock and a network that are made up."""
