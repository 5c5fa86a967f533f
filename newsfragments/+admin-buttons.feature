The pages of the admin interface show rollouts, log a browser in by a token, and have buttons to roll back, to drain endpoints, to
reload and to decide for rollouts; a long list no longer holds up traffic while it is searched.
