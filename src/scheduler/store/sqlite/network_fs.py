"""Recognises files on network file systems, where SQLite loses data."""

from __future__ import annotations

import re
from pathlib import Path

_OVER_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|ncpfs|afs|coda|ceph|glusterfs|lustre|beegfs|ocfs2|gfs2?|9p|fuse\.(sshfs|s3fs|goofys|glusterfs|rclone|gcsfuse)"
)
MOUNTS = Path("/proc/self/mountinfo")


def network_file_system(path: Path) -> str | None:
    """The type of the network file system that ``path`` is on; ``None`` on a local disk, or without ``/proc``."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = file_system_of(path.resolve(), mounts)
    return kind if kind is not None and _OVER_NETWORK.fullmatch(kind) else None


def file_system_of(path: Path, mounts: str) -> str | None:
    """The type of the file system that an absolute path is on, by the text of ``/proc/self/mountinfo`` (proc(5))."""
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]))
        # a later mount over the same point hides the earlier one
        if path.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), kinds[0]
    return None if found is None else found[1]
