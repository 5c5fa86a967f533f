``outlier_detection`` of a cluster acts: endpoints that answer worse than others are ejected for a while, by Envoy's rules and
constants; finer ones are set under ``voltgw: {outlier: ...}``. ``/clusters``, events and metrics say who is out, why, and until when.
