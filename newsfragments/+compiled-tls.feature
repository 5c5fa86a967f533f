The compiled build calls OpenSSL without the detour through libffi, and its modules are one shared library: a request on a kept HTTPS
connection costs a tenth to a sixth less CPU there.
