"""Releases: what a finished model is handed out as, and how anyone checks it.

A release is a folder. Each of its files has a hash in ``SHA256SUMS`` and, as a subject, in the provenance statement,
which may be signed. docs/releases.md describes it.
"""

from __future__ import annotations

ARCHIVE_SUFFIX = ".tar.zst"
"""What follows the folder's name in that of the archive of the same."""
