"""Which endpoint: live endpoints, their health, the schedulers that pick one, and what to do when it failed."""
