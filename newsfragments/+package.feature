``tools/package`` makes one file that runs (pex), ``etc/Containerfile`` an image; ``etc/prometheus`` has alerts, ``etc/grafana`` a
dashboard.
