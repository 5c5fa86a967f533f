Routes and virtual hosts take CORS and CSRF policies, gzip, Brotli and Zstandard compression, header edits with variables, cookie
edits, hash inputs, a split that keeps each user on their side while weights move, injected faults, and filters of your own.
