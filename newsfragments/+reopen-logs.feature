SIGUSR1 and ``voltgw reopen-logs`` open log files anew after rotation, without a reload.
