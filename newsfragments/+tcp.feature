TCP_PROXY virtual hosts relay connections, with back-pressure, half-close and reset passed from side to side.
