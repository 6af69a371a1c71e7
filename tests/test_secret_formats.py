"""The table of token formats, held against the rules of a detector that others maintain.

Owns: which of its rules ours does not follow, and why. A new release of the detector that has
more rules fails here until the table follows.

Invariant: nothing of the detector is used but its rules and its checks of a line; none of its
checks by network.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slm_lsp.secrets import formats
from slm_lsp.secrets.redaction import redact

plugins = pytest.importorskip("detect_secrets.plugins")
base = importlib.import_module("detect_secrets.plugins.base")

THOROUGH = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
ASCII = st.characters(codec="ascii", exclude_categories=["Cc"])
# Some take anything of a length that is given to "key". One finds the headline of a private key;
# what follows that is tested in test_secrets.
NOT_OURS = {
    *("CloudantDetector", "IbmCloudIamDetector", "IbmCosHmacDetector", "SoftlayerDetector"),
    "PrivateKeyDetector",
}
# Not a password, but what one is to be put for.
TEMPLATE = re.compile(r"[<>{}$%.~]")
# The shortest that is told from an identifier or a template.
MIN_CHARS = 16


def detectors() -> Iterator[Any]:
    """The detector's classes that look for tokens of known form."""
    for module in pkgutil.iter_modules(plugins.__path__):
        loaded = importlib.import_module(f"detect_secrets.plugins.{module.name}")
        for each in vars(loaded).values():
            is_here = inspect.isclass(each) and each.__module__ == loaded.__name__
            if is_here and issubclass(each, base.RegexBasedDetector):
                yield each


RULES = [
    pytest.param(each, rule, id=f"{each.__name__}-{i}")
    for each in detectors()
    if not inspect.isabstract(each) and each.__name__ not in NOT_OURS
    for i, rule in enumerate(each.denylist)
]


def test_there_are_rules() -> None:
    assert len(RULES) >= 18
    assert {each.__name__ for each in detectors()} > NOT_OURS


@pytest.mark.parametrize(("detector", "rule"), RULES)
@THOROUGH
@given(made=st.data())
def test_what_the_detector_finds_is_found(
    detector: Any, rule: re.Pattern[str], made: st.DataObject
) -> None:
    text = made.draw(st.from_regex(rule, fullmatch=True, alphabet=ASCII))
    secret = secret_of(rule, text)
    is_found = bool(detector().analyze_line("a.py", text))
    if is_found and len(secret) >= MIN_CHARS and not (":" in text and TEMPLATE.search(secret)):
        assert secret not in redact(f"x = '{text}'\n")


def secret_of(rule: re.Pattern[str], text: str) -> str:
    """What a rule takes for the secret: a group, unless that is but the token's mark."""
    found = rule.search(text)
    assert found is not None
    longest = max((each or "" for each in found.groups()), key=len, default="")
    if len(longest) >= 8:
        return longest
    # Neither what is around a token nor the host of a hook is secret.
    return found.group().rpartition("/services/")[2].strip("'\"=: ")


@pytest.mark.parametrize("each", formats.FORMATS, ids=lambda each: each.kind)
@THOROUGH
@given(made=st.data())
def test_every_format_is_looked_for(each: formats.Format, made: st.DataObject) -> None:
    """Its hints are in all of its tokens, and a run of characters that passes the gate."""
    pattern = re.compile(each.pattern)
    token = made.draw(st.from_regex(pattern, fullmatch=True, alphabet=ASCII))
    if not pattern.search(f"'{token}'") or not formats.LONG_WORD.search(token):
        return  # made without regard to what may stand around it, or of dots alone
    found = list(formats.in_line(f"'{token}'"))
    assert found
    assert all(0 < secret.start < secret.end <= len(token) + 1 for secret in found)
