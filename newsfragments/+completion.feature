``voltgw completion bash|zsh|fish`` has a shell complete commands, actions, options and their values; every manual page and the documentation tell the exit statuses from one table.
