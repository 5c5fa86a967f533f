``voltgw replay`` and ``voltgw simulate`` show on a terminal how far they are; ``--quiet`` keeps them silent.
