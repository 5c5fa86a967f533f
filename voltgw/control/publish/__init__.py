"""How names of virtual hosts are made known in registries that others run, and kept so: `publisher` for any `registrar`."""
