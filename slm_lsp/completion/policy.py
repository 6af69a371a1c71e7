"""What the completer does beside asking the model; each can be switched off and measured.

Owns: the switches, and how long work that nobody waits for may take.

Invariant: a value. With all of it off, every request is one call of the engine.

Threads: any.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from slm_lsp.config import Config

# Work in the background ends by itself after this: on a slow machine it would otherwise go on
# long after its place was left.
BACKGROUND_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class Policy:
    """`reuse` what was shown while it is typed; `anchors` keep a prompt as it was read, so
    that typing appends to it and two places of a document stay warm; `carry_on` a generation
    that its deadline cut; `speculate` that what is shown will be accepted (off until a
    benchmark shows that it is worth its processor time); `warm_ahead` the prompt at open and
    when idle; `lexical` answers where the model has none; `confidence_gate` cuts or hides what
    the model is not sure of; `syntax_gate` shows no more of a text than adds no syntax error;
    `snippets` of other files are in the prompt."""

    reuse: bool = True
    carry_on: bool = True
    speculate: bool = False
    warm_ahead: bool = True
    lexical: bool = True
    anchors: bool = True
    confidence_gate: bool = True
    syntax_gate: bool = True
    snippets: bool = True

    @classmethod
    def of(cls, config: Config) -> Policy:
        """What the settings ask for."""
        return cls(**{name: getattr(config, name) == "on" for name in SWITCHES})


SWITCHES = tuple(each.name for each in dataclasses.fields(Policy))
# One call of the engine a request, as it was before there was anything else.
PLAIN = Policy(**dict.fromkeys(SWITCHES, False))
