"""Which files hold secrets, judged by their names.

Owns: the globs of names and the folders whose files never enter a prompt of another file, nor
anything that is kept on the disk.

Invariant: a path is judged by itself; nothing is opened.

Threads: any.
"""

from __future__ import annotations

import fnmatch
import re

SECRET_NAMES = (
    *(".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx"),
    *("*.gpg", "*.asc", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys"),
    *("*credential*", "*secret*", "*password*", "*.tfvars", "*.tfstate", ".netrc", "_netrc"),
    *(".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials", ".*history"),
)
SECRET_FOLDERS = frozenset(
    (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", "secrets")
)
_SECRET_NAME = re.compile("|".join(map(fnmatch.translate, SECRET_NAMES)))


def is_secret_path(path: str) -> bool:
    """Whether a file of this path may hold secrets."""
    *folders, name = re.split(r"[/\\]", path.lower())
    return _SECRET_NAME.match(name) is not None or not SECRET_FOLDERS.isdisjoint(folders)
