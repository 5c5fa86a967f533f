Routes choose endpoints of a cluster by their labels: ``endpoint_subsets`` with all three fallback policies, and named label
expressions (``voltgw: {subset_expressions: …}``). ``voltgw check`` warns of labels by which nobody is chosen (VG0217).
