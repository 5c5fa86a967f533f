``defaults:`` reach the objects that load balancers, origin pools and the short form are made into; ``voltgw config show --effective`` says which values came from there.
