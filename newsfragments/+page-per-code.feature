Every error code has a page with an example, the exact message that it gets, and what to do; ``voltgw check --explain CODE`` prints the same.
