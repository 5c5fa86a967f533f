Clusters take endpoints by address or DNS name, balance by weighted round robin or at random, and check health by HTTP or TCP;
``/clusters`` says of each endpoint why it does or does not receive traffic.
