"""What ends a whole run; no answer of the service has them."""

from __future__ import annotations


class RunError(Exception):
    """A run cannot begin or go on; the message is one sentence for people."""


class SourceError(RunError):
    """A source cannot be looked through at all."""


class SchemeError(SourceError):
    """An address has a scheme that no file system has: it leads nowhere."""


class FormatError(RunError):
    """A table's format is not known, or cannot be written here."""


class OutputError(RunError):
    """A table or a picture cannot be written as it was asked for."""


class ServiceError(RunError):
    """The service cannot be used: it is not reached, refuses the key or the parameters, or stays without room."""


class Interrupted(RunError):
    """The run was ended by its user."""
