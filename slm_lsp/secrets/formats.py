"""Tokens that are known by their form, whoever holds them.

Owns: the table of formats. They are facts of the providers, restated from their documentation
and from the rules of two maintained detectors: detect-secrets (its fork bc-detect-secrets) and
gitleaks. `tests/test_secret_formats.py` holds the table against the rules of the former.

Invariant: pure. A format is only looked for in a line that holds one of its hints.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from slm_lsp.secrets.spans import Secret

# No letter or digit before: the format begins here.
START = r"(?<![A-Za-z0-9])"
END = r"(?![A-Za-z0-9])"
# There is no token without one; most lines of code have none.
LONG_WORD = re.compile(r"[A-Za-z0-9_+/=~-]{16}")


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of token: its first group, or all of the pattern, is the secret. The `hints` of a
    pattern that ignores case are in lower case. Of a token that is being typed, what `begun`
    describes tells it from other text."""

    kind: str
    hints: str
    pattern: str
    begun: str = ""


FORMATS = (
    # Clouds
    Format(
        *("aws key id", "AKIA ASIA ABIA ACCA A3T"),
        START + r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}" + END,
        r"(?:AKIA|ASIA)[0-9A-Z]{8,16}",
    ),
    Format(
        *("aws secret key", "aws"),
        r"(?i)aws.{0,20}?(?:key|pwd|pw|password|pass|token).{0,20}?\b([0-9a-z/+]{40})(?![0-9a-z/+])",
    ),
    Format("google key", "AIza", r"AIza[0-9A-Za-z_-]{35}", r"AIza[0-9A-Za-z_-]{8,}"),
    Format("google secret", "GOCSPX-", r"GOCSPX-[0-9A-Za-z_-]{28}"),
    Format("google token", "ya29.", START + r"ya29\.[0-9A-Za-z_-]{20,}"),
    Format("azure key", "==", r"(?<![A-Za-z0-9+/-])[A-Za-z0-9+/]{86,88}=="),
    Format("azure secret", "Q~", r"(?<![\w.~-])[\w.~-]{3}\dQ~[\w.~-]{31,34}"),
    Format("azure signature", "sig=", r"\bsig=([A-Za-z0-9%+/]{40,}(?:%3[Dd]|=))"),
    Format("digitalocean", "_v1_", r"do[opr]_v1_[a-f0-9]{64}", r"do[opr]_v1_[a-f0-9]{8,}"),
    Format("databricks", "dapi", START + r"dapi[a-f0-9]{32}(?:-\d)?"),
    Format("heroku", "HRKU-", r"HRKU-[0-9A-Za-z_-]{36,}"),
    Format("fly", "fo1_ fm1 fm2", r"(?:fo1_[\w-]{43}|fm[12][ar]?_[A-Za-z0-9+/=,_-]{40,})"),
    Format("netlify", "nfp_", r"nfp_[A-Za-z0-9]{36,}"),
    Format("supabase", "sbp_", r"sbp_[a-f0-9]{40}"),
    Format("planetscale", "pscale_", r"pscale_(?:tkn|pw|oauth)_[\w.=-]{32,}"),
    Format("vault", "hvs. hvb. hvr.", START + r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    Format("terraform", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}"),
    Format("pulumi", "pul-", START + r"pul-[a-f0-9]{40}"),
    Format("artifactory", "AKC", r"(?<![A-Za-z0-9_])AKC[a-zA-Z0-9]{10,200}" + END),
    Format(
        *("artifactory", "AP"),
        r"(?i:artif|jfrog|buildkit).{0,200}(?<![A-Za-z0-9_])(AP[\dA-F][a-zA-Z0-9]{8,200})" + END,
    ),
    # Where code and packages are
    Format(
        *("github", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_"),
        r"(?:gh[pousr]_[A-Za-z0-9_]{36,255}|github_pat_[A-Za-z0-9_]{22,255})",
        r"(?:gh[pousr]_|github_pat_)[A-Za-z0-9]{8,}",
    ),
    Format(
        *("gitlab", "gl GR1348941"),
        r"(?:gl(?:pat|dt|ft|soat|rt|rtr|ptt|agent|oas|imt|cbt|ffct)-[A-Za-z0-9_-]{20,1024}"
        r"|GR1348941[A-Za-z0-9_-]{20,50})",
        r"glpat-[A-Za-z0-9_-]{8,}",
    ),
    Format(
        *("npm", "npm_ _authToken NPM"),
        r"npm_[A-Za-z0-9-]{36}"
        r"|(?:_authToken|NPM[ _-]?TOKEN).{0,5}?(?:NpmToken\.)?([a-z0-9-]{36})",
    ),
    Format("pypi", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{50,}", r"pypi-AgE[A-Za-z0-9_-]{8,}"),
    Format("rubygems", "rubygems_", r"rubygems_[a-f0-9]{48}"),
    Format("crates", "cio", START + r"cio[A-Za-z0-9]{32}" + END),
    Format("docker", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}"),
    Format("atlassian", "ATATT3 ATCTT3 ATBB", r"(?:ATATT3|ATCTT3|ATBB)[A-Za-z0-9_=-]{24,}"),
    Format("figma", "figd_", r"figd_[A-Za-z0-9_-]{38,}"),
    Format("postman", "PMAK-", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    Format("linear", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    Format("notion", "ntn_ secret_", START + r"(?:ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{43})"),
    Format("sentry", "sntry", r"sntry[us]_[A-Za-z0-9+/=_-]{40,}"),
    Format(
        "grafana", "glsa_ glc_", r"(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,})"
    ),
    Format("new relic", "NRAK-", r"NRAK-[A-Z0-9]{27}"),
    # Models
    Format(
        *("openai", "sk-"),
        START + r"sk-(?:[A-Za-z0-9_-]{0,200}T3BlbkFJ[A-Za-z0-9_-]{20,}"
        r"|(?:proj|svcacct|admin|None|or-v1)-[A-Za-z0-9_-]{40,}|[A-Za-z0-9]{32,})",
        START + r"sk-(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{8,}",
    ),
    Format("anthropic", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{20,}", r"sk-ant-[A-Za-z0-9_-]{10,}"),
    Format("hugging face", "hf_", r"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,}" + END),
    Format("groq", "gsk_", r"(?<![A-Za-z0-9_])gsk_[A-Za-z0-9]{40,}"),
    Format("xai", "xai-", START + r"xai-[A-Za-z0-9]{60,}"),
    Format("perplexity", "pplx-", r"pplx-[A-Za-z0-9]{40,}"),
    Format("replicate", "r8_", START + r"r8_[A-Za-z0-9]{37}"),
    # Messages and money
    Format(
        *("slack", "xox xapp"),
        r"(?i)(?:xox[abposr]-(?:\d+-)+[a-z0-9]+|xoxe(?:\.xox[bp])?-\d-[a-z0-9]{40,}"
        r"|xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+)",
        r"xox[abpr]-\d{8,}[\w-]*",
    ),
    Format("slack hook", "hooks.slack.com", r"hooks\.slack\.com/services/(T\w+/B\w+/\w+)"),
    Format(
        "discord", ".", START + r"[MNO][a-zA-Z\d_-]{23,25}\.[a-zA-Z\d_-]{6}\.[a-zA-Z\d_-]{27,38}"
    ),
    Format("discord hook", "/api/webhooks/", r"/api/webhooks/\d+/([\w-]{60,})"),
    Format("telegram", ":", r"(?<![\w:])\d{8,10}:[0-9A-Za-z_-]{35}(?![\w-])"),
    Format(
        *("stripe", "k_live_ k_test_ whsec_"),
        r"(?:[rs]k_(?:live|test)_[0-9a-zA-Z]{10,}|whsec_[A-Za-z0-9+/=]{32,})",
        r"[rs]k_live_[0-9a-zA-Z]{8,}",
    ),
    Format("twilio", "AC SK", START + r"(?:AC|SK)[a-z0-9]{32}" + END),
    Format("sendgrid", "SG.", r"SG\.[\w-]{16,32}\.[\w-]{39,50}", r"SG\.[\w-]{12,}(?:\.[\w-]*)?"),
    Format("mailgun", "key-", START + r"key-[0-9a-f]{32}" + END),
    Format("mailchimp", "-us", START + r"[0-9a-z]{32}-us\d{1,2}" + END),
    Format("shopify", "shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    Format("square", "sq0 EAAA", r"(?:sq0(?:csp|atp|idp)-[0-9A-Za-z\\_-]{22,43}|EAAA[\w-]{60})"),
    # Of any maker
    Format(
        *("jwt", "eyJ"),
        r"eyJ[A-Za-z0-9_=-]{8,}\.[A-Za-z0-9_=-]{4,}(?:\.[A-Za-z0-9_.+/=-]*)?",
        r"eyJ[A-Za-z0-9_=-]{16,}(?:\.[A-Za-z0-9_.+/=-]*)?",
    ),
    Format("age", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    Format(
        *("authorization", "bearer basic"),
        r"(?i)\b(?:bearer|basic)\s+(?=[A-Za-z0-9+/_.~-]*\d)([A-Za-z0-9+/_.~-]{16,}={0,2})",
    ),
)


def in_line(line: str) -> Iterator[Secret]:
    """The tokens of known form in a line."""
    if not LONG_WORD.search(line):
        return
    plain = line.lower()
    for hint, ignores_case, pattern in _compiled():
        if hint in (plain if ignores_case else line):
            for found in pattern.finditer(line):
                group = found.lastindex or 0
                yield Secret(found.start(group), found.end(group))


def begun(line: str) -> Secret | None:
    """The token of known form that is being typed at the end of a line."""
    found = _begun().search(line)
    return Secret(found.start(), found.end()) if found else None


@cache
def _compiled() -> tuple[tuple[str, bool, re.Pattern[str]], ...]:
    """Every hint with its pattern, and whether that ignores case."""
    return tuple(
        (hint, bool(pattern.flags & re.IGNORECASE), pattern)
        for each in FORMATS
        for pattern in (re.compile(each.pattern),)
        for hint in each.hints.split()
    )


@cache
def _begun() -> re.Pattern[str]:
    beginnings = "|".join(each.begun for each in FORMATS if each.begun)
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{beginnings})\Z")
