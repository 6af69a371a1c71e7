"""Which texts hold secrets, and what is left of these when they are redacted.

Owns: the recall on made-up secrets, the false alarms on the standard library, and the laws of
redaction.

Invariant: no secret stands in this file: all are put together when the tests run.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.secrets.corpus import ALNUM, ASSIGNMENTS, BASE64, HEX, Leak, Maker, leaks, left_of
from slm_lsp.secrets import formats, search
from slm_lsp.secrets.redaction import prints_secret, redact, redact_around, redact_lines
from slm_lsp.secrets.spans import KEY, PASSWORD

QUICK = settings(derandomize=True, deadline=None, max_examples=150, database=None)
LEAKS = list(leaks(len(ASSIGNMENTS), seed=11))
MAKER = Maker(3)
GITHUB = "gh" + "p_" + MAKER.of(ALNUM, 36)
AWS = "AK" + "IA" + MAKER.of("ABCDEFGH234567", 16)
HEX_KEY = MAKER.of(HEX, 32)
KEY_BODY = "\n".join(MAKER.of(BASE64, 64) for _ in range(4))
MARKS = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
MIN_RECALL = 0.99
MAX_FALSE_PER_1000_LINES = 0.1


def check(text: str, expect: str) -> None:
    assert redact(text) == expect
    assert redact(expect) == expect


# --- what is found ---


def test_nearly_all_made_up_secrets_are_found() -> None:
    missed = [leak for leak in LEAKS if left_of(leak.secret, redact(leak.text))]
    assert len(LEAKS) > 500
    assert len(missed) <= (1 - MIN_RECALL) * len(LEAKS), [leak.text for leak in missed]
    # Tokens that have a mark are all found.
    assert not [leak for leak in missed if leak.kind in ("github", "aws key id", "anthropic")]


def test_what_is_around_a_secret_stays() -> None:
    for leak in LEAKS:
        if "\n" not in leak.secret:
            before, _, after = leak.text.partition(leak.secret)
            redacted = redact(leak.text)
            assert redacted.startswith(before.rpartition("\n")[0])
            assert redacted.endswith(after.partition("\n")[2])


def test_little_of_real_code_is_taken_for_a_secret() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = [*sorted(folder.glob("*.py"))[::6], *sorted((folder / "json").glob("*.py"))]
    texts = [path.read_text("utf-8", "replace") for path in files]
    n_lines = sum(text.count("\n") for text in texts)
    found = [text[each.start : each.end] for text in texts for each in search.in_text(text)]
    assert n_lines > 10_000
    assert len(found) <= n_lines / 1000 * MAX_FALSE_PER_1000_LINES, found


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        (f'token = "{GITHUB}"\n', f'token = "{KEY}"\n'),
        (f"# {AWS}, old\r\nx = 1\r\n", f"# {KEY}, old\r\nx = 1\r\n"),
        (
            "url = 'postgres://me:" + "s3cr3t" + "@db/app'",
            f"url = 'postgres://me:{PASSWORD}@db/app'",
        ),
        ('password = "' + "swordfish" + '"', f'password = "{PASSWORD}"'),
        ("db.password: " + "hunter2" + "  # old", f"db.password: {PASSWORD}  # old"),
        (f"API_KEY={HEX_KEY}\n", f"API_KEY={KEY}\n"),
        (f"{MARKS[0]}\n{KEY_BODY}\n{MARKS[1]}\n", f"{MARKS[0]}\n{KEY}\n{MARKS[1]}\n"),
        (f"{KEY_BODY}\n{MARKS[1]}\nx\n", f"{KEY}\n{MARKS[1]}\nx\n"),
        (f"x\n{MARKS[0]}\n{KEY_BODY}", f"x\n{MARKS[0]}\n{KEY}"),
        # A window that lies in a key has no marks.
        (f"{KEY_BODY}\n", "\n".join([KEY] * 4) + "\n"),
    ],
)
def test_placeholders(text: str, expect: str) -> None:
    check(text, expect)


@pytest.mark.parametrize(
    "text",
    [
        "password = os.environ['DB_PASSWORD']",
        "def login(user: str, password: str = '') -> Token:",
        'password = input("Password: ")',
        'token_type = "Bearer"',
        'password_field = "password"',
        '{"password": "string", "token": "string"}',
        "password = '<your password>'",
        'api_key = "your-api-key"',
        'secret = "${SECRET}"',
        "token = f'{user}:{nonce}'",
        'token = "abc"',
        "key = values[token1]",
        "self.tokens = tokens_of(line)",
        "next_token = scanner.read(token_size, 16)",
        "connect(password=password1)",
        "url = 'https://user:password@host/'",
        "url = 'https://host:8080/a@b'",
        "commit 5c267ed1b2f0a2ce8ac50d8a44ea1d4ebf4ab8f1",
        'id = "123e4567-e89b-12d3-a456-426614174000"',
        '"integrity": "sha512-' + "Az09" * 21 + 'Az=="',
        "npm_config_registry_url_of_the_whole_project = 1",
        "sk_live_mode = True",
        f"if begins({MARKS[0]!r}):\n    pass\nelse:\n    return\n",
        'passage = "summer2024"',
        "tokenize_everything(compassion, 'hunter2')",
        "é" * 40 + " password",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert redact(text) is text


# --- laws ---


PIECES = [
    *(GITHUB, AWS, HEX_KEY, KEY_BODY, *MARKS, "password", "token", " = ", '"', "'", "://a:", "@"),
    *("\n", "\n", "\r\n", " ", "hunter2", "x", "é", KEY, PASSWORD, "=", ":", "{", "\\n", "key"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)


@QUICK
@given(TEXTS)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    assert GITHUB not in once
    assert len(redact_lines(text.split("\n"))) == text.count("\n") + 1


@QUICK
@given(TEXTS, st.integers(0, 400), st.integers(0, 400))
def test_a_secret_is_found_over_every_seam(text: str, a: int, b: int) -> None:
    a, b = sorted((min(a, len(text)), min(b, len(text))))
    parts = redact_around((text[:a], text[a:b]), text[b:])
    assert len(parts) == 3
    assert GITHUB not in "".join(parts)
    if not formats.begun(text[:b].rpartition("\n")[2]):
        assert "".join(parts) == redact(text)


def test_a_key_of_several_lines_is_hidden_over_every_seam() -> None:
    body = [MAKER.of(BASE64, 24) for _ in range(3)]
    text = "\n".join(("a = 1", f"-----BEGIN {search.KEY_MARK}-----", *body, "b = 2"))
    hidden = redact(text)
    assert not [line for line in body if line in hidden]
    for a in range(len(text) + 1):
        for b in range(a, len(text) + 1, 7):
            shown = "".join(redact_around((text[:a], text[a:b]), text[b:]))
            assert shown == hidden, (a, b)


@QUICK
@given(TEXTS)
def test_memory_changes_no_answer(text: str) -> None:
    first = redact(text)
    search._remembered.cache_clear()
    assert redact(text) == first


@pytest.mark.parametrize("leak", [each for each in LEAKS if "\n" not in each.secret][::9])
def test_typing_behind_a_secret_only_appends(leak: Leak) -> None:
    """From where the line of a secret has ended, the redacted text grows as the text does."""
    end = leak.text.index("\n", leak.text.index(leak.secret)) + 1
    before = redact(leak.text[:end])
    for at in range(end, len(leak.text) + 1):
        assert redact(leak.text[:at]) == before + leak.text[end:at]


@pytest.mark.parametrize(
    "piece",
    ["a", "aA/+", "key", "key=", "-", " ", "sk-", "eyJ", "://", "\\n", "'", "1-", "aws", "a:", "("],
)
def test_no_line_is_too_much(piece: str) -> None:
    """A rule that goes back and forth without end would not come back."""
    for name in ("", "token = '", "password: ", "--secret", "aws_key jfrog AP0"):
        line = name + piece * (4000 // len(piece))
        assert len(redact(line)) <= len(line)
        redact(f"{MARKS[0]}\n{line}\n{MARKS[1]}")


# --- at the cursor ---


@pytest.mark.parametrize("secret", [GITHUB, "sk-" + "ant-api03-" + MAKER.of(ALNUM, 90)])
def test_a_secret_that_is_typed_is_hidden_once_its_mark_tells(secret: str) -> None:
    line = "x = 1\ntoken = '"
    shown = [redact_around((line + secret[:n],), "'\n")[0] for n in range(len(secret) + 1)]
    n_known = shown.index(f"{line}{KEY}")
    assert n_known <= 24
    # From then on every key that is typed finds the same prompt.
    assert set(shown[n_known:]) == {f"{line}{KEY}"}


@pytest.mark.parametrize("closed", ["'", ""])
def test_a_password_that_is_typed_is_hidden_once_it_is_one(closed: str) -> None:
    line, password = "password = '", "hunter" + "22!"
    shown = [redact_around((line + password[:n],), closed)[0] for n in range(len(password) + 1)]
    assert shown[:4] == [line + password[:n] for n in range(4)]
    assert set(shown[6:]) == {line + PASSWORD}


def test_a_cursor_in_a_secret_leaves_none_of_it() -> None:
    for at in range(1, len(GITHUB)):
        assert redact_around((f"t = '{GITHUB[:at]}",), f"{GITHUB[at:]}'\n") == (
            *(f"t = '{KEY}", "'\n"),
        )


def test_a_secret_goes_where_it_begins() -> None:
    assert redact_around(("t = '" + GITHUB[:9], GITHUB[9:20]), GITHUB[20:] + "'") == (
        *(f"t = '{KEY}", "", "'"),
    )


# --- what a completion would print ---


@pytest.mark.parametrize(
    ("before", "text", "after", "expect"),
    [
        ("token = ", f"'{GITHUB}'", "", True),
        (f"token = '{GITHUB[:9]}", GITHUB[9:] + "'", "", True),
        ("password = '", "hunter" + "22", "'", True),
        ("password = ", "'hunter" + "22'", "", True),
        ("password = ", f"'{PASSWORD}'", "", True),
        (f"x: {PASSWORD} = ", f"'{PASSWORD}'", "", False),
        (f"token = '{GITHUB}'\nx = ", "1", "", False),
        ("x = ", "1", f"  # {GITHUB}", False),
        ("password = ", "os.environ['PASSWORD']", "", False),
        (f'"""{MARKS[0]}\n', KEY_BODY[:60], "", True),
        ("x = ", f'"""\n{MARKS[0]}\n{KEY_BODY}', "", True),
    ],
)
def test_texts_that_would_print_one(before: str, text: str, after: str, expect: bool) -> None:
    assert prints_secret(before, text, after) is expect
