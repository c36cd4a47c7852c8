"""The network of GATE and its losses."""
