"""Addresses such as `s3://bucket/folder`, and the file systems behind them; needs the extra `remote`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from service.extras import install_command
from service.offline.errors import OutputError, SchemeError, SourceError


def file_system(address: str) -> tuple[Any, str, str]:
    """Open the file system of an address.

    Args:
        address: With a scheme, such as `s3://bucket/folder`.

    Returns:
        The file system of fsspec, the path in it, and the scheme.

    Raises:
        SchemeError: The scheme is not known.
        SourceError: It needs packages that are missing, or is not reached.
    """
    if find_spec("fsspec") is None:
        raise SourceError(f"{address}: addresses need the extra `remote`: {install_command('remote')}")
    import fsspec

    scheme, _, rest = address.partition("://")
    scheme = scheme.lower()
    options = {} if scheme in ("http", "https", "memory") else {"use_listings_cache": False}
    try:
        system, path = fsspec.core.url_to_fs(f"{scheme}://{rest}", **options)
    except ImportError as error:
        raise SourceError(f"{address}: {error}; it comes with the extra `remote`: {install_command('remote')}") from error
    except ValueError as error:
        raise SchemeError(f"{address}: {error}") from error
    except Exception as error:  # some connect already, or open an archive, and each raises errors of its own
        raise SourceError(f"{address}: {str(error) or type(error).__name__}") from error
    return system, path, scheme


def filled_in(address: str) -> str:
    """Put variables of the environment into an address, as a shell would: containers of jobs are started without one.

    Args:
        address: A file, or an address with variables such as `$AWS_BATCH_JOB_ARRAY_INDEX` or `${JOB_COMPLETION_INDEX}`.

    Returns:
        The address with the values of those that are set; a file as it is.
    """
    return os.path.expandvars(address) if "://" in address else address


class Upload:
    """A file that is to be put at an address."""

    def __init__(self, address: str, *, overwrite: bool) -> None:
        """Look whether the address is free.

        Args:
            address: Where the file is to go.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            SourceError: As of `file_system`.
            OutputError: A file is there already, or the address is not reached, or is one of the web, which takes no files.
        """
        self._address = address
        self._system, self._path, scheme = file_system(address)
        if scheme in ("http", "https"):
            raise OutputError(f"{address}: nothing can be put there; name an address such as s3://bucket/faces.csv")
        try:
            there = self._system.exists(self._path)
        except Exception as error:  # each file system raises errors of its own
            raise OutputError(f"{address}: {str(error) or type(error).__name__}") from error
        if there and not overwrite:
            raise OutputError(f"{address} is there already: --overwrite takes its place")

    def put(self, file: Path) -> None:
        """Copy a file to the address; it is there whole or not at all.

        Args:
            file: A whole file.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            self._system.put_file(str(file), self._path)
        except Exception as error:  # each file system raises errors of its own
            raise OutputError(f"{self._address}: {str(error) or type(error).__name__}") from error
