"""A simulated Scaleway region: the outside world of cohortd, for demos and tests.

`simulator.world` is the model (deterministic, no I/O, no clock); `simulator.api` is its
HTTP face, which the official SDK talks to. Nothing here knows cohortd.
"""
