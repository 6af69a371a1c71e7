"""What the completer does beside asking the model; each can be switched off and measured.

Owns: the switches, and how long work that nobody waits for may take.

Invariant: a value. With all of it off, every request is one call of the engine.

Threads: any.
"""

from __future__ import annotations

from dataclasses import dataclass

# Work in the background ends by itself after this: on a slow machine it would otherwise go on
# long after its place was left.
BACKGROUND_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class Policy:
    """`reuse` what was shown while it is typed; `carry_on` a generation that its deadline
    cut; `speculate` that what is shown will be accepted (off until a benchmark shows that it
    is worth its processor time); `warm_ahead` the prompt at open and when idle; `lexical`
    answers where the model has none."""

    reuse: bool = True
    carry_on: bool = True
    speculate: bool = False
    warm_ahead: bool = True
    lexical: bool = True


# One call of the engine a request, as it was before there was anything else.
PLAIN = Policy(reuse=False, carry_on=False, speculate=False, warm_ahead=False, lexical=False)
