``voltgw replay ACCESS_LOG [OLD] NEW`` counts which requests of the past would go elsewhere under a new configuration.
