"""What the settings and the registry say of a server of the user's own.

Owns: the way from a Config to ServerSettings, and from a model's name to its template.

Invariant: pure but for reading the registry; nothing is asked of the server here, and no key is
looked up.

Threads: any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from slm_lsp.config import Config
from slm_lsp.engine.base import EngineStats, ModelLoadError
from slm_lsp.engine.server_look import Known
from slm_lsp.engine.server_settings import ServerSettings
from slm_lsp.prompt import fim, plan
from slm_lsp.prompt.translate import around, translated
from slm_lsp.registry.specs import ModelSpec, SpecError, load_specs
from slm_lsp.types import FimTemplate, ModelInfo, Prompt

SPARE_TOKENS = 32
# A size at the end of a name, with what may stand behind it.
_SIZE = re.compile(r"-[0-9.]+[bm]?(?=-|\Z)")
# Families by words of the names that models are served under; the first whose words are all there.
NAMED: tuple[tuple[str, str], ...] = (
    ("qwen coder", "qwen"),
    ("codegemma", "qwen"),
    ("granite code", "starcoder"),
    ("granite", "qwen"),
    ("starcoder", "starcoder"),
    ("santacoder", "santacoder"),
    ("deepseek coder", "deepseek"),
    ("codellama", "codellama"),
    ("code llama", "codellama"),
    ("codestral", "codestral"),
    ("mellum", "mellum"),
    ("seed coder", "seed-coder"),
    ("stable code", "starcoder"),
    ("refact", "starcoder"),
    ("falcon coder", "falcon"),
    ("slm fim", "slm-fim"),
)


def settings_of(config: Config) -> ServerSettings:
    """What the user has set for the server. Raises ModelLoadError."""
    template = template_named(config.server_template) if config.server_template else None
    return ServerSettings(
        url=config.server_url,
        api=config.server_api,
        model=config.server_model,
        template=template,
        key_variable=config.server_key_variable,
        insecure=config.server_insecure == "on",
        n_ctx=config.context_tokens,
    )


def template_named(name: str) -> FimTemplate:
    """The template of a registry entry or a family. Raises ModelLoadError."""
    specs = _specs()
    if name in specs:
        return specs[name].template
    found = fim.PREFIX_ONLY if name == fim.PREFIX_ONLY.name else fim.family(name)
    if found is None:
        known = ", ".join([*specs, *fim.family_names(), fim.PREFIX_ONLY.name])
        raise ModelLoadError(f"server_template: there is no {name!r}; known are {known}")
    return found


def what_is_known() -> Known:
    """What servers' models are recognized by. Raises ModelLoadError."""
    specs = _specs()
    templates = [each.template for each in specs.values()]
    families = (fim.family(name) for name in fim.family_names())
    templates += [each for each in families if each is not None]
    return Known(
        sentinels=tuple(sorted(set(_controls(templates)))),
        by_name=lambda name: by_name(name, specs),
        choose=fim.choose_template,
    )


def by_name(served: str, specs: dict[str, ModelSpec]) -> FimTemplate | None:
    """The template of a model served under some name, by the longest registry entry whose name is
    in it, or the words of a family's."""
    plain = _plain(served)
    for name in sorted(specs, key=len, reverse=True):
        if _SIZE.sub("", _plain(name)) in plain:
            return specs[name].template
    for words, family in NAMED:
        if all(word in plain for word in words.split()):
            return fim.family(family)
    return None


def translate(
    config: Config,
) -> Callable[[Prompt, ModelInfo, ModelInfo, EngineStats], Prompt | None]:
    """How a prompt for the server's model becomes one for the local model: as much as that reads
    soon, in its own layout."""

    def call(
        prompt: Prompt, source: ModelInfo, target: ModelInfo, stats: EngineStats
    ) -> Prompt | None:
        template = fim.choose_template(source)
        if source is target:
            return prompt if around(prompt, template) is not None else None
        n_room = target.n_ctx - prompt.max_tokens - SPARE_TOKENS
        n_most = max(1, min(config.prompt_tokens, n_room))
        speed = plan.Speed(stats.prefill_ms_per_token, stats.decode_ms)
        n_tokens = plan.soon_tokens(n_most, speed, 0.0)
        return translated(prompt, template, fim.choose_template(target), n_tokens)

    return call


def _specs() -> dict[str, ModelSpec]:
    try:
        return load_specs()
    except SpecError as error:
        raise ModelLoadError(str(error)) from error


def _controls(templates: Iterable[FimTemplate]) -> Iterable[str]:
    for each in templates:
        parts = (*each.layout, *each.files_layout, *each.file)
        yield from (part for part in parts if "{" not in part)
        yield from each.stop


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())
