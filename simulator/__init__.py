"""A simulated Scaleway region: the outside world of cohortd, for demos and tests.

`simulator.world` is the model (deterministic, no I/O, no clock); `simulator.api` serves it over
HTTP, for the official SDK. Nothing here knows cohortd.
"""
