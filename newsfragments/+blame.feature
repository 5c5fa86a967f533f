``voltgw blame FILE METHOD URL`` names the kept configuration, or the commit, that has a request decided as it is; ``voltgw plan --live``
compares with what serves now and says which of the latest requests would go elsewhere; ``/recent`` lists these.
