"""Secrets that are known by the name they are given to: `password = "…"` and its like.

Owns: the telling names, the forms of an assignment in the languages and files people use, and
when a value is a secret rather than a word, a template or a name of one.

Invariant: pure. A quoted value's quotes are not part of it. The rules look at one line.

Threads: any.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from slm_lsp.secrets.spans import KEY, PASSWORD, Secret

_PASSWORD_NAMES = r"passw(?:or)?d|passphrase|pwd|db_?pass(?!w)"
_KEY_NAMES = (
    r"secret(?:[_-]?(?:access[_-]?)?key)?|token|credential|api[_-]?key|(?:access|auth|private|encrypt(?:ion)?|sign(?:ing)?|"
    r"account|client|service|master|shared|session|license|db|database|storage)[_-]?key|"
    r"connection[_-]?string|webhook[_-]?url"
)
_NAME = rf"(?:(?P<password>{_PASSWORD_NAMES})|{_KEY_NAMES})s?(?P<more>[\w-]{{0,40}})"
# What may stand between a name and its value: a closing quote or bracket, a type, an operator.
_TO_VALUE = (
    r"""["'`)\]]{0,3}(?:\[\w*\])?(?:\s*:\s*[\w.]{1,30}(?:\[[\w, ]*\])?)?\s*"""
    r"""(?P<sign>:=|[=!]={1,2}|=>|=|:|,|\()\s*[brufL@$]{0,2}"""
)
_QUOTED = (
    rf"""(?i){_NAME}{_TO_VALUE}(?P<quote>["'`])(?P<value>(?:\\.|(?!(?P=quote))[^\\])*)"""
    r"""(?:(?P=quote)|$)"""
)
# `export DB_PASSWORD=…`, `- TOKEN=…`, `ENV KEY=…`, and the query of a URL or a connection string.
_BARE = rf"""(?i){_NAME}(?P<sign>)=(?P<quote>)(?P<value>[^\s"'`,;&<>(){{}}\[\]]{{6,}})"""
# YAML, properties, INI, and flags of a command.
_SPACED = (
    r"""(?i)(?:^\s*(?:-\s+)?["']?[\w.-]{0,80}|(?<![\w-])--[\w-]{0,40}?)"""
    rf"""{_NAME}["']?(?P<sign>:\s|\s*=\s|\s)\s*"""
    r"""(?P<quote>)(?P<value>[^\s"'`,;<>(){}\[\]]{6,})\s*(?:[#;].*)?$"""
)
SHELL = re.compile(r"\s*(?:(?:export|set|ENV|ARG|-)\s+\w+|[A-Z][A-Z0-9_]*)=")
URL = re.compile(r"""://[^\s:/?#\[\]@"'`<>]*:([^\s:/?#@"'`<>]+)@""")
# One of these is in every telling name, and in few other lines.
_TELLING = ("pass", "pwd", "secret", "token", "key", "credential", "connection", "webhook")

MIN_PASSWORD_CHARS = 6
MIN_KEY_CHARS = 8
MIN_RANDOM_CHARS = 16
BASE64_KEY = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")
MIN_KEY_ENTROPY = 4.4
# What fills the place of a value: templates, prose, what is to be replaced, paths and addresses.
_NO_VALUE = re.compile(
    r"""(?ix) [\s<>{}] | \$[a-z(] | %[(sd] | \#\{ | \.\.\. | \*{3} | x{4} | ^[./~] | ^\w+:/[^\s@]*$
    | example | placeholder | change_?me | your | dummy | redacted | replace | insert | todo
    | ^(?:https?|file|none|null|true|false|undefined|os\.|env\.|process\.) """
)
# Words that are no password though they stand where one does.
_WORDS = frozenset(
    [
        *("string", "text", "hidden", "input", "required", "optional", "bearer", "username"),
        *("login", "default", "number", "integer", "boolean", "object", "value", "unknown"),
        *("invalid", "private", "public", "disabled", "enabled", "session", "cookie", "header"),
        *("basic", "digest", "oauth"),
    ]
)
_IDENTIFIER = re.compile(r"[A-Za-z]+(?:[_.:/ -][A-Za-z]+)*\d?")


def in_line(line: str) -> Iterator[Secret]:
    """The values in a line that are given to telling names, and passwords in URLs."""
    if "://" in line:
        for found in URL.finditer(line):
            if not _NO_VALUE.search(found[1]) and not _is_name(found[1]):
                yield Secret(found.start(1), found.end(1), PASSWORD)
    if not is_telling(line):
        return
    quoted, bare, spaced = _forms()
    for form in (quoted, bare, spaced):
        for found in form.finditer(line):
            is_literal = form is quoted or SHELL.match(line) is not None
            if form is bare and not is_literal and _is_other_name(found["value"]):
                continue
            if _is_secret(found, is_literal):
                placeholder = PASSWORD if found["password"] else KEY
                yield Secret(found.start("value"), found.end("value"), placeholder)


@cache
def _forms() -> tuple[re.Pattern[str], ...]:
    # Not when the module is imported, which is on the event loop.
    return tuple(map(re.compile, (_QUOTED, _BARE, _SPACED)))


def is_telling(line: str) -> bool:
    """Whether there may be a telling name in a line."""
    plain = line.lower()
    return any(each in plain for each in _TELLING)


def _is_secret(found: re.Match[str], is_literal: bool) -> bool:
    """Whether what a name is given is a secret; what is no literal may be another name."""
    value = found["value"]
    if _NO_VALUE.search(value) and not _is_base64_key(value):
        return False
    if looks_random(value):
        return True
    # `password_field = "…"`, `token_type: "…"`: the name of something else.
    if found["more"] or found["sign"] in (",", "("):
        return bool(found["password"]) and not found["more"] and looks_chosen(value)
    if found["password"]:
        return looks_chosen(value) or (is_literal and _is_word(value))
    return is_literal and len(value) >= MIN_KEY_CHARS and looks_chosen(value)


def looks_random(value: str) -> bool:
    """Whether nobody would have written this: letters and digits in no order."""
    if len(value) < MIN_RANDOM_CHARS or _IDENTIFIER.fullmatch(value):
        return False
    n_digits = sum(map(str.isdigit, value))
    if n_digits == 0 or n_digits == len(value) or not value.isascii():
        return False
    return entropy(value) >= (3.0 if n_digits > 1 else 4.0)


def _is_base64_key(value: str) -> bool:
    """Whether this is a key even where it begins as a path does, or spells a word by chance."""
    is_base64 = BASE64_KEY.fullmatch(value) is not None
    return is_base64 and looks_random(value) and entropy(value) >= MIN_KEY_ENTROPY


def looks_chosen(value: str) -> bool:
    """Whether this is a password that somebody thought of: more than letters."""
    if len(value) < MIN_PASSWORD_CHARS or value[0] in "-$%([" or not value.isprintable():
        return False
    if not any(map(str.isalpha, value)):
        return value.isdigit() and len(value) >= MIN_PASSWORD_CHARS
    has_digit = any(map(str.isdigit, value))
    has_sign = any(each in "!@#$%^&*+=?~|\\" for each in value)
    return has_digit or has_sign


def _is_name(value: str) -> bool:
    """Whether a value only says what stands there: "password", "userPass", "string"."""
    return value.lower() in _WORDS or (value.isalpha() and is_telling(value))


def _is_other_name(value: str) -> bool:
    """Whether an argument is handed on: `connect(password=password1)`."""
    return value.isidentifier() and not looks_random(value)


def _is_word(value: str) -> bool:
    return len(value) >= MIN_PASSWORD_CHARS and value.isalpha() and not _is_name(value)


def entropy(text: str) -> float:
    """Shannon's, in bits a character."""
    n = len(text)
    return -sum(count / n * math.log2(count / n) for count in Counter(text).values())
