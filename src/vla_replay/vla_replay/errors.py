"""Errors about bags."""

from vla_core.errors import VlaError


class BagError(VlaError):
    """A bag cannot be read or written."""
