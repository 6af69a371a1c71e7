"""A prompt that was made for one model, made again for another.

Owns: the way back from segments to what stands before and behind the cursor, by the layout they
were made with.

Invariant: pure. What is not of that layout's form gives None, never another prompt. Texts of other
files are left out; typing still only appends, as the start of what is shown moves only with the
anchor.

Threads: any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slm_lsp.prompt import fim
from slm_lsp.prompt.budget import Window, clip_suffix, window_start
from slm_lsp.types import CompletionContext, FimTemplate, Prompt, Special

PREFIX, SUFFIX = "{prefix}", "{suffix}"


@dataclass(frozen=True, slots=True)
class Around:
    """The text around the cursor: read before, typed since, and behind."""

    head: str
    typed: str
    suffix: str


def translated(
    prompt: Prompt, source: FimTemplate, target: FimTemplate, n_tokens: int
) -> Prompt | None:
    """The prompt for a model with another template, which is to read `n_tokens` of text."""
    shown = around(prompt, source)
    if shown is None:
        return None
    window = Window.of(n_tokens)
    start = window_start(shown.head, window.prefix_chars)
    context = CompletionContext(
        shown.head[start:] + shown.typed,
        clip_suffix(shown.suffix, target.suffix_lines, window.suffix_chars),
    )
    made = fim.build(target, context, prompt.stop, prompt.max_tokens, len(shown.typed))
    return replace(made, start=prompt.start)


def around(prompt: Prompt, template: FimTemplate) -> Around | None:
    """What a prompt shows of its document; None where it was made with another layout."""
    layout = _around_cursor(template)
    marks = [part for part in layout if not _is_slot(part)]
    runs, is_open = _runs(prompt), _is_slot(layout[0])
    if len(runs) < len(marks) + 1 or (not marks and len(runs) > 1):
        return None
    used = runs[len(runs) - len(marks) - is_open :]
    if [mark for mark, _ in used[is_open:]] != marks:
        return None
    slots, at = {PREFIX: "", SUFFIX: ""}, -1 + is_open
    for part in layout:
        if _is_slot(part):
            slots[part] = used[at][1]
        else:
            at += 1
    typed = "" if _is_slot(layout[-1]) else used[-1][1]
    return Around(slots[PREFIX], typed + prompt.heal, slots[SUFFIX])


def _around_cursor(template: FimTemplate) -> tuple[str, ...]:
    """The end of the layout, from the sentinel of its first slot on."""
    layout = tuple(part for part in template.layout if _is_slot(part) or "{" not in part)
    first = next(n for n, part in enumerate(layout) if _is_slot(part))
    return layout[max(0, first - 1) :]


def _is_slot(part: str) -> bool:
    return part in (PREFIX, SUFFIX)


def _runs(prompt: Prompt) -> list[tuple[str, str]]:
    """Each control text with the text behind it; first, what stands before any."""
    runs = [("", "")]
    for segment in prompt.segments:
        if isinstance(segment, Special):
            runs.append((segment.text, ""))
        else:
            mark, text = runs[-1]
            runs[-1] = (mark, text + segment.text)
    return runs
