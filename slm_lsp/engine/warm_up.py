"""The first steps of a model on a machine that has not measured it yet.

Owns: which steps are made, so that the first request's plan rests on a measurement and not on a
guess, and the model file's pages are in memory.

Invariant: the sequences are as empty afterwards as before; it ends within about `WARM_UP_MS` and
one step. A model that cannot make these steps fails at its first request, as it would have.

Threads: the Scheduler's.
"""

from __future__ import annotations

import logging

from slm_lsp.deadline import Clock
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.rates import Rates
from slm_lsp.types import Text

log = logging.getLogger(__name__)

WARM_UP_MS = 600.0
# The first step reads the file and says nothing of the speed. Then single tokens, which count
# most, and one step of each size that rates are kept for, as far as there is time.
FIRST_TOKENS = 4
STEPS = (1, 1, 1, 8, 48, 1, 128)
DOCUMENT = "warm-up"
CODE = "def total(values):\n    result = 0\n    for value in values:\n        result += value\n"


def warm_up(kv: KvCache, clock: Clock) -> None:
    """Measure the rates of an engine that has none."""
    started_ms = clock.now_ms()
    try:
        tokens = kv.decoder.tokenize([Text(CODE * 12)])
        kv.use(DOCUMENT)
        kv.feed(tokens[:FIRST_TOKENS])
        kv.rates = Rates()
        for n_tokens in STEPS:
            left_ms = WARM_UP_MS - (clock.now_ms() - started_ms)
            if n_tokens > 1 and kv.rates.step_ms(n_tokens) > left_ms:
                break
            if len(kv.tokens) + n_tokens > min(len(tokens), kv.decoder.info.n_ctx):
                break
            kv.feed(tokens[:n_tokens])
    except RuntimeError as error:
        log.warning("the model's speed could not be measured: %s", error)
    finally:
        kv.cut(0)
