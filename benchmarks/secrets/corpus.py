"""Made-up secrets, in the places where people leave them.

Owns: how secrets of each kind look, and the lines of code and configuration around them.

Invariant: the same seed makes the same corpus. No secret stands in this file: marks and bodies
are put together when it runs, so that no scanner of the repository finds one.

Threads: any.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

LETTERS, DIGITS = string.ascii_letters, string.digits
ALNUM = LETTERS + DIGITS
UPPER = string.ascii_uppercase + DIGITS
LOWER = string.ascii_lowercase + DIGITS
HEX = "0123456789abcdef"
URL_SAFE = ALNUM + "-_"
BASE64 = ALNUM + "+/"


@dataclass(frozen=True, slots=True)
class Leak:
    """A text around one secret. `secret` must not be left in it, nor any stretch of it."""

    kind: str
    text: str
    secret: str


class Maker:
    """Random strings of a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def of(self, alphabet: str, n: int) -> str:
        """A string that has a digit where the alphabet has any, as most random ones do."""
        while True:
            made = "".join(self.random.choices(alphabet, k=n))
            if n < 8 or not set(alphabet) & set(DIGITS) or set(made) & set(DIGITS):
                return made


Make = Callable[[Maker], str]


def _prefixed(mark: str, alphabet: str, *lengths: int, joint: str = ".") -> Make:
    return lambda maker: mark + joint.join(maker.of(alphabet, n) for n in lengths)


def _jwt(maker: Maker) -> str:
    parts = ('{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{maker.of(DIGITS, 10)}","iat":1516239022}}')
    coded = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, maker.of(URL_SAFE, 43)])


# By a mark that every one of the kind has.
MARKED: dict[str, Make] = {
    "aws key id": _prefixed("AK" + "IA", UPPER, 16),
    "google key": _prefixed("AI" + "za", URL_SAFE, 35),
    "google secret": _prefixed("GOC" + "SPX-", URL_SAFE, 28),
    "azure storage key": lambda maker: maker.of(BASE64, 86) + "==",
    "digitalocean": _prefixed("do" + "p_v1_", HEX, 64),
    "databricks": _prefixed("da" + "pi", HEX, 32),
    "vault": _prefixed("hv" + "s.", URL_SAFE, 24),
    "github": _prefixed("gh" + "p_", ALNUM, 36),
    "github app": _prefixed("gh" + "s_", ALNUM, 36),
    "github fine-grained": _prefixed("github" + "_pat_", ALNUM, 22, 59, joint="_"),
    "gitlab": _prefixed("gl" + "pat-", URL_SAFE, 20),
    "npm": _prefixed("np" + "m_", ALNUM, 36),
    "pypi": _prefixed("py" + "pi-AgE" + "IcHlwaS5vcmc", URL_SAFE, 120),
    "docker hub": _prefixed("dc" + "kr_pat_", URL_SAFE, 27),
    "openai": _prefixed("s" + "k-", ALNUM, 20, 20, joint="T3Blbk" + "FJ"),
    "openai project": _prefixed("s" + "k-proj-", URL_SAFE, 124),
    "anthropic": _prefixed("sk-" + "ant-api03-", URL_SAFE, 95),
    "hugging face": _prefixed("h" + "f_", LETTERS, 34),
    "slack bot": lambda maker: "-".join(
        ["xo" + "xb", maker.of(DIGITS, 12), maker.of(DIGITS, 12), maker.of(ALNUM, 24)]
    ),
    "slack hook": lambda maker: (
        "https://hooks." + "slack.com/services/T" + maker.of(UPPER, 8) + "/B"
        f"{maker.of(UPPER, 8)}/{maker.of(ALNUM, 24)}"
    ),
    "discord": lambda maker: "M" + ".".join(maker.of(URL_SAFE, n) for n in (23, 6, 27)),
    "telegram": lambda maker: maker.of(DIGITS, 9) + ":AA" + maker.of(URL_SAFE, 33),
    "stripe": _prefixed("sk" + "_live_", ALNUM, 24),
    "twilio": _prefixed("S" + "K", HEX, 32),
    "sendgrid": _prefixed("S" + "G.", URL_SAFE, 22, 43),
    "mailgun": _prefixed("ke" + "y-", HEX, 32),
    "mailchimp": lambda maker: maker.of(HEX, 32) + "-us" + maker.of("123456789", 1),
    "shopify": _prefixed("shp" + "at_", HEX, 32),
    "square": _prefixed("sq0" + "csp-", URL_SAFE, 43),
    "jwt": _jwt,
}
# By the name they are given to.
NAMED: dict[str, tuple[tuple[str, ...], Make]] = {
    "hex key": (("api_key", "apiKey", "clientSecret"), _prefixed("", HEX, 32)),
    "base64 key": (("secret_key", "SECRET_KEY", "authToken"), _prefixed("", BASE64, 44)),
    "aws secret key": (("aws_secret_access_key", "awsSecretKey"), _prefixed("", BASE64, 40)),
    "chosen password": (
        ("password", "db_password", "DB_PASSWORD", "userPassword", "passphrase"),
        lambda maker: (
            maker.random.choice(["Summer", "hunter", "tr0ub4dor", "letmein", "Kitten"])
            + maker.of(DIGITS, 2)
            + maker.random.choice(["", "!", "#x", "@Home"])
        ),
    ),
    "letters only": (
        ("password", "passwd", "DB_PASSWORD"),
        lambda maker: maker.of(string.ascii_lowercase, 10),
    ),
}
ASSIGNMENTS = (
    '{name} = "{secret}"',
    "{name} = '{secret}'",
    '    self.{name} = "{secret}",',
    'connect(host="db", {name}="{secret}")',
    '{{"user": "me", "{name}": "{secret}"}}',
    'const {name} = "{secret}";',
    "  {name}: '{secret}',",
    'String {name} = "{secret}";',
    '{name} := "{secret}"',
    'static const char *{name} = "{secret}";',
    "export {name}={secret}",
    "      - {name}={secret}",
    'os.environ["{name}"] = "{secret}"',
    "{name}: str = '{secret}'",
    'if {name} == "{secret}":',
)
# What only a token of known form may stand in.
ANYWHERE = (
    *ASSIGNMENTS,
    'x = f("{secret}")',
    "# {secret}",
    "curl -H 'X-Auth: {secret}' https://api.internal/v1",
    "run --with={secret} now",
    '    "{secret}",',
)
URLS = (
    'DATABASE = "postgres://admin:{secret}@db.internal:5432/app"',
    "git clone https://bot:{secret}@git.internal/team/app.git",
    "redis_url: redis://:{secret}@cache:6379/0",
)


def leaks(n_each: int = 20, seed: int = 5) -> Iterator[Leak]:
    """Some of every kind, each in another place than the one before."""
    maker = Maker(seed)
    for kind, make in MARKED.items():
        for i in range(n_each):
            leak = _in_line(kind, ANYWHERE[i % len(ANYWHERE)], "value", make(maker))
            # The host of a hook is no secret.
            yield replace(leak, secret=leak.secret.rpartition("/services/")[2])
    for kind, (names, make) in NAMED.items():
        for i in range(n_each):
            form, name = ASSIGNMENTS[i % len(ASSIGNMENTS)], names[i % len(names)]
            yield _in_line(kind, form, name, make(maker))
    for i in range(n_each):
        yield _in_line("url", URLS[i % len(URLS)], "", maker.of(ALNUM, 12))
        yield _bearer(maker)
        yield from _private_keys(maker, i)


def _in_line(kind: str, form: str, name: str, secret: str) -> Leak:
    line = form.format(name=name, secret=secret)
    return Leak(kind, f"import os\n\n{line}\nprint(os.name)\n", secret)


def _bearer(maker: Maker) -> Leak:
    secret = maker.of(ALNUM, 32)
    return Leak("bearer", f'headers = {{"Authorization": "Bearer {secret}"}}\n', secret)


def _private_keys(maker: Maker, i: int) -> Iterator[Leak]:
    name = ("RSA PRIVATE", "PRIVATE", "OPENSSH PRIVATE", "EC PRIVATE")[i % 4] + " KEY"
    begin, end = f"-----BEGIN {name}-----", f"-----END {name}-----"
    body = [maker.of(BASE64, 64) for _ in range(3 + i % 12)] + [maker.of(BASE64, 24)]
    secret = "\n".join(body)
    yield Leak("private key", f'KEY = """{begin}\n{secret}\n{end}"""\nx = 1\n', secret)
    escaped = "\\n".join(body)
    text = f'{{"private_key": "{begin}\\n{escaped}\\n{end}\\n"}}\n'
    yield Leak("private key in a line", text, escaped)
    quoted = "\n".join(f'    "{line}\\n"' for line in body)
    yield Leak("private key in strings", f'"{begin}\\n"\n{quoted}\n    "{end}"\n', secret)
    # What a window that begins or ends within the key holds of it.
    yield Leak("end of a private key", f"{secret}\n{end}\nx = 1\n", secret)
    yield Leak("beginning of a private key", f"x = 1\n{begin}\n{secret}", secret)


def left_of(secret: str, text: str, n_chars: int = 6) -> str:
    """A stretch of a secret, of so many characters, that a text still holds; empty if none."""
    stretches = (secret[at : at + n_chars] for at in range(len(secret) - n_chars + 1))
    return next((each for each in stretches if each in text), "")
