"""Which parts make an engine: the one place that knows them all.

Owns: the way from a Config to a Scheduler around a LlamaDecoder, with the model obtained
first where it is missing.

Invariant: nothing native is imported and nothing is fetched before `load_decoder` runs,
which is on the engine's own thread.

Threads: `start_engine` any; `load_decoder` the engine's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slm_lsp.config import Config
from slm_lsp.engine.base import Decoder, ModelLoadError
from slm_lsp.engine.scheduler import Scheduler
from slm_lsp.types import EngineState, FimTemplate

if TYPE_CHECKING:
    from slm_lsp.registry.pull import PullProgress

Report = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that is on the disk; `template` where the registry has one for it."""

    name: str
    path: Path
    template: FimTemplate | None


def looks_like_path(model: str) -> bool:
    """Whether `--model` names a file rather than an entry of the registry."""
    return model.endswith(".gguf") or "/" in model or "\\" in model


def obtain(config: Config, progress: Callable[[PullProgress], None] | None = None) -> ModelFile:
    """The configured model, fetched if need be. Raises ModelLoadError."""
    if looks_like_path(config.model):
        try:
            path = Path(config.model).expanduser()
        except RuntimeError as error:  # the home of a user that there is not
            raise ModelLoadError(f"{config.model}: {error}") from error
        return ModelFile(path.name, path, None)
    # Imported late: the registry's libraries are needed only here.
    from slm_lsp.registry.pull import PullError, pull
    from slm_lsp.registry.specs import DEFAULT_MODEL, SpecError, load_specs

    try:
        specs = load_specs()
        name = config.model or DEFAULT_MODEL
        if name not in specs:
            raise ModelLoadError(
                f"there is no model {name!r}; known are {', '.join(sorted(specs))}, "
                "or give the path of a GGUF file"
            )
        path = pull(specs[name], quantization=config.quantization or None, progress=progress)
    except (PullError, SpecError) as error:
        raise ModelLoadError(str(error)) from error
    return ModelFile(name, path, specs[name].template)


def load_decoder(config: Config, report: Report) -> Decoder:
    """Obtain and load the configured model. Raises ModelLoadError."""
    from slm_lsp.engine.llama import LlamaDecoder

    def progress(step: PullProgress) -> None:
        report(f"{step.stage} the model", step.done_bytes / max(1, step.total_bytes))

    model = obtain(config, progress)
    report(f"load {model.name}", None)
    return LlamaDecoder(
        model.path,
        model.name,
        template=model.template,
        n_ctx=config.context_tokens,
        n_threads=config.n_threads,
        n_threads_batch=config.n_threads_batch,
    )


def start_engine(
    config: Config,
    on_state: Callable[[EngineState], None],
    on_progress: Report,
) -> Scheduler:
    """An engine in this process that loads its model on its own thread."""

    def report(text: str, done: float | None) -> None:
        # Raised within a pull, this ends the program that it runs; nothing else could.
        if scheduler.state is EngineState.CLOSED:
            raise ModelLoadError("closed while the model was loading")
        on_progress(text, done)

    scheduler = Scheduler(lambda: load_decoder(config, report), on_state=on_state)
    scheduler.start()
    return scheduler
