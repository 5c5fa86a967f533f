``/sd`` of the admin interface and the monitor tells Prometheus what to scrape (``http_sd_configs``); ``/addresses`` lists where the
gateway can be asked.
