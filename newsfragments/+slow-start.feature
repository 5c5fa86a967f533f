``voltgw: {slow_start: {window: 60s}}`` of a cluster gives endpoints that come, or come back, their share bit by bit; the scheduler
``peak_ewma`` sends requests where they wait least, and ``weight_label`` takes weights from labels.
