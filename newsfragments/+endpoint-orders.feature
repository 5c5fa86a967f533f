``voltgw drain``, ``undrain``, ``eject`` and ``weight`` for single endpoints of the running gateway; they hold over reloads. ``voltgw
clusters -v`` tells weight, share, load, labels, ejections and the last probes of each.
