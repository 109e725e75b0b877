"""Folders of other machines: their changes are not announced here."""

from __future__ import annotations

import re
from pathlib import Path

from mose.files.disk import inside

_REMOTE = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|9p|drvfs|ceph|glusterfs|lustre|beegfs|gpfs|vboxsf|vmhgfs|prl_fs|virtiofs|fuse"
    r"|fuse\.(?!gvfsd-fuse|portal).*)$"
)
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def remote_kind(root: str, mounts: str | None = None) -> str:
    r"""The kind of a file system of another machine that a folder lies on or holds; "" if there is none.

    Args:
        root: The folder, without links.
        mounts: What is mounted, as Linux tells it; None for what is mounted now, nothing on other systems.

    Example:
        >>> remote_kind("/src/a", "1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /src rw - nfs4 host:/src rw\n")
        'nfs4'
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    above, holds = ("", ""), ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4])
        kind = after.partition(" ")[0]
        if inside(root, point):
            if len(point) >= len(above[0]):
                above = (point, kind)  # what was mounted last covers what was mounted there before
        elif inside(point, root) and _REMOTE.match(kind):
            holds = kind
    return above[1] if _REMOTE.match(above[1]) else holds
