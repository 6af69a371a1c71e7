"""Which files are secret by their names alone.

Owns: the names. A secret file is never shown to the model as another file's context, none of
its text is kept on the disk, and nothing is completed in it unless the user says so.

Invariant: pure; every path has an answer. What is secret is not kept on the disk either, but
not the other way round: there, source files that are called after secrets are left out, too.

Threads: any.
"""

from __future__ import annotations

import fnmatch
import re
from functools import cache, lru_cache
from urllib.parse import unquote

# Whatever the folder. All in lower case.
NAMES = (
    *(".env", ".env.*", "*.env", ".envrc", ".flaskenv", "*.tfvars", "*.tfvars.json"),
    *("*.tfstate", "*.tfstate.*", "*.pem", "*.key", "*.ppk", "*.p8", "*.p12", "*.pfx", "*.pkcs12"),
    *("*.jks", "*.jceks", "*.keystore", "*.truststore", "*.kdb", "*.kdbx", "*.agekey", "*.keytab"),
    *("*.gpg", "*.pgp", "*.asc", "secring.*", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *("authorized_keys", "kubeconfig", "*.kubeconfig", "kubeconfig.*", "*.ovpn"),
    *(".netrc", "_netrc", ".npmrc", ".pypirc", ".yarnrc.yml", ".dockercfg", ".dockerconfigjson"),
    *(".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf", ".s3cfg", ".boto", ".terraformrc"),
    *("terraform.rc", ".htpasswd", "htpasswd", ".git-credentials", ".*history", ".vault-token"),
    *("service-account*.json", "service_account*.json", "serviceaccount*.json", ".pass"),
    *("google-services.json", "googleservice-info.plist", "master.key", "shadow", "secrets.*"),
    *("*.secret", "*.secrets", ".secrets", ".secret", "credentials", ".credentials", "*.cred"),
)
# One folder and the name in it, where the name alone would not tell.
IN_FOLDERS = (
    *("gcloud/*.json", "gcloud/*.db", ".cargo/credentials*", ".gem/credentials"),
    *("gh/hosts.yml", ".m2/settings.xml", ".m2/settings-security.xml", ".config/rclone.conf"),
    *("rclone/rclone.conf", "containers/auth.json", ".docker/config.json", ".azure/*token*"),
)
FOLDERS = frozenset((".ssh", ".gnupg", ".aws", ".kube", ".password-store", ".oci"))
# Folders of secrets in a home, and of other things in many a repository.
FOLDERS_OFF_DISK = frozenset((".azure", ".docker"))
# A name that speaks of secrets: a file that holds some, or source code that deals with them.
TELLING = ("*credential*", "*secret*", "*password*", "*passwd*")
TELLING_FOLDERS = frozenset(("secrets", ".secrets", "credentials"))
# What is handed out so that others know what to put into the real one.
EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist", ".env.*.example")

SOURCES = frozenset(
    [
        *("py", "pyi", "pyx", "ipynb", "js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"),
        *("vue", "svelte", "go", "rs", "java", "kt", "kts", "scala", "groovy", "clj", "c", "h"),
        *("cc", "cpp", "cxx", "hh", "hpp", "hxx", "m", "mm", "cs", "fs", "vb", "rb", "php"),
        *("swift", "lua", "sh", "bash", "zsh", "fish", "ps", "sql", "html", "htm", "css"),
        *("scss", "less", "hs", "ml", "mli", "zig", "ex", "exs", "erl", "dart", "r", "jl"),
        *("pl", "pm", "nim", "v", "md", "rst", "adoc", "tex", "proto", "graphql"),
    ]
)
_SEPARATORS = re.compile(r"[/\\]+")
_BEFORE_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?://[^/]*)?")


def is_secret_path(path: str) -> bool:
    """Whether a file's name, or where it lies, says that it holds secrets."""
    folders, name = _split(path)
    if _matches(EXAMPLES, name):
        return False
    if _is_certain(folders, name):
        return True
    if name.rpartition(".")[2] in SOURCES:
        return False
    return _is_telling(folders, name)


@lru_cache(maxsize=256)
def is_secret_uri(uri: str) -> bool:
    """`is_secret_path` of a document, whatever its scheme."""
    return is_secret_path(_path_of(uri))


def is_kept_off_disk(path: str) -> bool:
    """Whether nothing of a file may get to the disk: secret files, and all that could be one."""
    folders, name = _split(path)
    if not FOLDERS_OFF_DISK.isdisjoint(folders):
        return True
    return _is_certain(folders, name) or _is_telling(folders, name)


def _path_of(uri: str) -> str:
    """The path of a URI, without what may stand behind it."""
    path = _BEFORE_PATH.sub("", uri, count=1)
    return unquote(re.split(r"[?#]", path, maxsplit=1)[0])


def _split(path: str) -> tuple[list[str], str]:
    *folders, name = _SEPARATORS.split(path.lower())
    return folders, name


def _is_certain(folders: list[str], name: str) -> bool:
    if _matches(NAMES, name) or not FOLDERS.isdisjoint(folders):
        return True
    return bool(folders) and _matches(IN_FOLDERS, f"{folders[-1]}/{name}")


def _is_telling(folders: list[str], name: str) -> bool:
    return _matches(TELLING, name) or not TELLING_FOLDERS.isdisjoint(folders)


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    names, beginnings, ends, rest = _sorted(patterns)
    if name in names or name.startswith(beginnings) or name.endswith(ends):
        return True
    return rest is not None and rest.match(name) is not None


@cache
def _sorted(
    patterns: tuple[str, ...],
) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...], re.Pattern[str] | None]:
    """Whole names, beginnings and ends, which are quick to compare, and a pattern of the rest."""
    names = {each for each in patterns if "*" not in each}
    starred = [each for each in patterns if each not in names]
    beginnings = {each for each in starred if each.index("*") == len(each) - 1}
    ends = {each for each in starred if each.rindex("*") == 0}
    rest = [each for each in starred if each not in beginnings | ends]
    return (
        frozenset(names),
        tuple(each[:-1] for each in beginnings),
        tuple(each[1:] for each in ends),
        re.compile("|".join(map(fnmatch.translate, rest)), re.DOTALL) if rest else None,
    )
