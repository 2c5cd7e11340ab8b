"""The API's site, which serves the portal beside it."""

from tests.exporters.api.conftest import fresh_site, reading

__all__ = ["fresh_site", "reading"]
