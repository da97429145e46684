"""Files that appear with their whole content or not at all, readable by their owner only.

A file is written as a draft in the same directory and published by a link or a rename. A reader sees the old file, the
new one or none, also after the writer was killed. Every function raises ``OSError``.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def draft_of(path: Path, text: str = "") -> Iterator[Path]:
    """A new file of mode 0600 with this ASCII text, in the directory of ``path``; removed when the context ends."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        create(draft, text)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def create(path: Path, text: str) -> None:
    """Make a file of mode 0600 with this ASCII text. Raises ``FileExistsError`` when the name is taken."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)


def publish(draft: Path, path: Path) -> None:
    """Give a draft its name; on return both are on disk. Raises ``FileExistsError`` when the name is taken.

    A hard link, unlike a rename, never replaces a file that another process has just published. Where the file system
    has none, the name is first taken by an empty file, which a reader may see for a moment.
    """
    _sync(draft)
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        create(path, "")
        draft.replace(path)
    _sync(path.parent)


def replace(draft: Path, path: Path) -> None:
    """Put a draft in the place of ``path``, whether there is such a file or not; on return it is on disk."""
    _sync(draft)
    draft.replace(path)
    _sync(path.parent)


def remove_drafts(path: Path) -> None:
    """Remove the drafts of ``path`` that killed processes left. Only for the one process that may write it now."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*"):
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
