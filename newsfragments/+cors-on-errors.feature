Error pages behind a route with a ``cors_policy`` get its fields, so that scripts of allowed origins can read a 503.
