"""Facet: the age, gender and race of every face in a photo, with honest uncertainty."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("facet-service")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0"
