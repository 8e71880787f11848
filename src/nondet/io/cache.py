"""The only folder outside studies where nondet keeps files; it can make or download all of them again."""

from __future__ import annotations

import os
from pathlib import Path

from nondet.errors import BadInput


def cache_folder() -> Path:
    """Return the folder named by the environment variable NONDET_CACHE, or else `nondet` in the system's cache folder.

    Raises:
        BadInput: no folder is named, and pooch, which finds the system's, is not installed.
    """
    named = os.environ.get("NONDET_CACHE")
    if named:
        return Path(named)
    try:
        from pooch import os_cache
    except ImportError as error:
        raise BadInput(
            "pooch must be installed to find the system's cache folder (got no such module); add it, or name a folder "
            "in the variable NONDET_CACHE"
        ) from error
    return Path(os_cache("nondet"))
