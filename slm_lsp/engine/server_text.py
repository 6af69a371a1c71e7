"""A prompt's segments as a server takes them, so that no source text becomes a control token.

Owns: the four shapes (one string; strings and token ids mixed; text before and behind the cursor),
and what is done with source that spells a control token. In a mixed prompt it is broken up, so
that the server tokenizes the two parts apart; in a string, which servers search for all their
control tokens, a space is put into it. Each is text as before to the model, but for that space.

Invariant: pure. What is a control token in the result was a Special in the segments, for all
control texts of the template and for those that vocabularies of code models have in common.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from slm_lsp.engine.base import PromptError
from slm_lsp.types import FimTemplate, Segment, Special, Text

# Control tokens that code models' vocabularies hold, whatever their template: GPT-2's and
# SentencePiece's own, Qwen's and DeepSeek's, those of StarCoder, CodeLlama, Codestral, Seed-Coder.
COMMON = (
    r"<\|[^|<>\s]{1,40}\|>",
    r"<｜[^｜<>\n]{1,40}｜>",
    r"<\[[^\[\]<>\n]{1,40}\]>",
    r"</?s>",
    r"<(?:unk|pad|bos|eos|mask|sep|cls|eot|empty_output|code_to_intermediate)>",
    r"<fim[-_][a-z]{3,12}>",
    r"<(?:file_sep|file_separator|repo_name|reponame|filename|gh_stars|pr|unused\d{1,3})>",
    r"<(?:issue|commit|jupyter|pr|intermediate)_[a-z_]{2,30}>",
    r"<(?:start|end)_of_[a-z]{4,12}>",
    r"▁?<(?:PRE|SUF|MID|EOT)>",
    r"\[/?[A-Z_]{3,30}\]",
)

# A layout for servers that put prefix and suffix together themselves; never sent as it stands.
SUFFIX_MARK, TYPED_MARK, FILE_MARK, TEXT_MARK, OWN_MARK = (
    f"<slm-lsp:{name}>" for name in ("suffix", "typed", "file", "text", "own")
)
SIDES = FimTemplate(
    "prefix-and-suffix",
    ("{prefix}", SUFFIX_MARK, "{suffix}", TYPED_MARK),
    files_layout=("{files}", OWN_MARK, "{prefix}", SUFFIX_MARK, "{suffix}", TYPED_MARK),
    file=(FILE_MARK, "{path}", TEXT_MARK, "{text}"),
)


@dataclass(frozen=True, slots=True)
class Sides:
    """What stands before and behind the cursor, what was typed since the first of them was read,
    and texts of other files by their paths."""

    prefix: str
    suffix: str
    typed: str = ""
    files: tuple[tuple[str, str], ...] = ()


def as_string(segments: Sequence[Segment], heal: str, controls: Collection[str] = ()) -> str:
    """One string; control texts as they are written. Raises PromptError where a control text would
    stand that is none of the segments' own."""
    searched = _pattern(frozenset(controls))
    parts = [*_joined(segments, heal)]
    texts = [
        part.text if isinstance(part, Special) else _spaced(part.text, searched) for part in parts
    ]
    whole = "".join(texts)
    own, at = set(), 0
    for part, text in zip(parts, texts, strict=True):
        if isinstance(part, Special):
            own.add(at)
        at += len(text)
    exact = _exact(frozenset([*controls, *(p.text for p in parts if isinstance(p, Special))]))
    if exact is not None and any(found.start() not in own for found in exact.finditer(whole)):
        raise PromptError("the file's text and a control token run together")
    return whole


def as_mixed(
    segments: Sequence[Segment],
    heal: str,
    ids: Mapping[str, int],
    start: Sequence[int] = (),
    controls: Collection[str] = (),
) -> list[int | str]:
    """Token ids and strings, each of which the server tokenizes by itself; `start` are the tokens
    that a text begins with. Raises PromptError for a control text that is no token."""
    searched = _pattern(frozenset([*controls, *ids]))
    mixed: list[int | str] = [*start]
    for segment in (*segments, *([Text(heal)] if heal else [])):
        if isinstance(segment, Text):
            mixed += [part for part in _broken(segment.text, searched) if part]
        elif segment.text in ids:
            mixed.append(ids[segment.text])
        else:
            raise PromptError(f"the server's model has no control token {segment.text!r}")
    return mixed


def as_sides(segments: Sequence[Segment], heal: str) -> Sides:
    """The parts of a prompt that was made with the layout SIDES."""
    texts = {OWN_MARK: "", SUFFIX_MARK: "", TYPED_MARK: ""}
    files: list[tuple[str, str]] = []
    mark, marks = OWN_MARK, set[str]()
    for segment in segments:
        if isinstance(segment, Special):
            mark = segment.text
            marks.add(mark)
            if mark == FILE_MARK:
                files.append(("", ""))
        elif mark in texts:
            texts[mark] += segment.text
        elif files:
            path, text = files[-1]
            is_path = mark == FILE_MARK
            files[-1] = (path + segment.text, text) if is_path else (path, text + segment.text)
    if not {SUFFIX_MARK, TYPED_MARK} <= marks:
        raise PromptError("the prompt was made for another kind of server")
    own, suffix, typed = texts.values()
    return Sides(own, suffix, typed + heal, tuple(files))


def sides_as_text(sides: Sides) -> Sides:
    """The same with nothing in it that a server would take for a control token."""
    searched = _pattern(frozenset())
    return Sides(
        _spaced(sides.prefix, searched),
        _spaced(sides.suffix, searched),
        _spaced(sides.typed, searched),
        tuple((_spaced(path, searched), _spaced(text, searched)) for path, text in sides.files),
    )


@lru_cache(maxsize=16)
def _pattern(controls: frozenset[str]) -> re.Pattern[str]:
    own = sorted(map(re.escape, controls - {""}), key=len, reverse=True)
    begin = re.escape("".join(sorted({"<", "[", "▁", *(each[0] for each in controls if each)})))
    # A lookahead, so that it also finds those that overlap.
    return re.compile(f"(?=[{begin}])(?={'|'.join([*own, *COMMON])})")


@lru_cache(maxsize=16)
def _exact(controls: frozenset[str]) -> re.Pattern[str] | None:
    own = sorted(map(re.escape, controls - {""}), key=len, reverse=True)
    return re.compile("|".join(own)) if own else None


def _joined(segments: Iterable[Segment], heal: str) -> Iterator[Segment]:
    """Segments with the texts that stand side by side made one."""
    text = ""
    for segment in segments:
        if isinstance(segment, Text):
            text += segment.text
            continue
        if text:
            yield Text(text)
            text = ""
        yield segment
    if text + heal:
        yield Text(text + heal)


def _broken(text: str, searched: re.Pattern[str]) -> list[str]:
    cuts = [found.start() + 1 for found in searched.finditer(text)]
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _spaced(text: str, searched: re.Pattern[str]) -> str:
    """The text with a space behind the first character of all that spells a control token."""
    return " ".join(_broken(text, searched))
