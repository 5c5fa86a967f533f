Packages may add kinds of registries in which names are published (group ``voltgw.registrars``, ``voltgw: {registrar: {name: ..., options: ...}}`` of a ``discovery`` object).
