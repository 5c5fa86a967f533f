``voltgw.testing`` is a gateway without sockets for test suites, on a clock that the test turns; pytest finds the fixture
``voltgw_gateway``.
