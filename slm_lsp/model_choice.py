"""The models that a session can be switched to, and the check of a choice.

Owns: what `slm-lsp.models` answers with, and why a model cannot be chosen.

Invariant: nothing is fetched, loaded or written; whoever chooses wrong keeps the model there is.

Threads: any; it reads files, so not the event loop.
"""

from __future__ import annotations

from typing import Any

from slm_lsp.config import Config, apply


def listed(config: Config) -> list[dict[str, Any]]:
    """Every model of the registry with what of it is on this machine; which model and which of its
    quantizations are in use."""
    from slm_lsp.registry.listing import Row, rows
    from slm_lsp.registry.specs import DEFAULT_MODEL, load_registry

    def shown(row: Row) -> dict[str, Any]:
        # Without a setting, the one that stands first.
        used = config.quantization or row.quantizations[0].name
        quantizations = [
            {
                "name": each.name,
                "size_bytes": each.size_bytes,
                "state": each.state,
                "in_use": row.in_use and each.name == used,
            }
            for each in row.quantizations
        ]
        about = {"name": row.name, "title": row.title, "licence": row.licence}
        return {**about, "quantizations": quantizations, "in_use": row.in_use}

    in_use = config.model or DEFAULT_MODEL
    found = [shown(row) for row in rows(load_registry().specs, in_use=in_use)]
    if not any(each["in_use"] for each in found):
        about = {"name": in_use, "title": in_use, "licence": ""}
        found.append({**about, "quantizations": [], "in_use": True})
    return found


def chosen(config: Config, model: str, quantization: str) -> Config:
    """The settings with another model. Raises ValueError with a message for the user."""
    from slm_lsp.models_named import ModelsError, entry, file_of, location_of
    from slm_lsp.registry import naming
    from slm_lsp.registry.specs import SpecError

    values = {"model": model, "quantization": quantization}
    changed, problems = apply(config, values, "slm-lsp.use")
    if problems:
        raise ValueError("; ".join(problems))
    try:
        match naming.kind_of(model):
            case "name" if model:
                entry(model).quantization(quantization or None)
            case "path" | "found":
                file_of(model)
            case "location":
                location_of(model)
    except (ModelsError, SpecError) as error:
        raise ValueError(str(error)) from error
    return changed
