``sh tools/demo`` runs the gateway with its own demo origins, ``sh tools/test`` passes the tests; both make their own
virtual environment. ``pip install .`` gives ``twistd voltgw`` and the ``voltgw`` command.
