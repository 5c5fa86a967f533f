"""The delegated zones' server: queries come in by UDP and TCP, `voltgw.routing.zone` knows the answers."""
