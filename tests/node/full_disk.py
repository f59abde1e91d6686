"""A disk that is really full: the kernel refuses to let any file of this process grow over a size."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def limit_file_size(size_bytes: int) -> Iterator[None]:
    """Writes beyond `size_bytes` fail with EFBIG meanwhile (Python ignores SIGXFSZ). Keep the block short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
