"""The section "Server" of package.json's settings, made from slm_lsp/config.py.

Usage: python editors/vscode/settings.py

Owns: how a field of Config looks as a setting of VS Code.

Invariant: every field is a setting, with its own default, limits and words; a test compares.
Threads: none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slm_lsp.config import FIELDS

PACKAGE = Path(__file__).parent / "package.json"
PREFIX = "slm-lsp.server."
# What names files is not for a workspace to say.
OF_THE_MACHINE = {
    *("model", "trace", "secret_files", "library", "model_type"),
    *(name for name in FIELDS if name.startswith("server_")),
}
KINDS = {str: "string", int: "integer", float: "number"}
# Depends on the platform, so no default is told.
WITHOUT_DEFAULT = {"engine"}


def setting_of(name: str, order: int) -> dict[str, Any]:
    """A field as a setting of VS Code."""
    field = FIELDS[name]
    low, high = field.metadata["low"], field.metadata["high"]
    choices = field.metadata["choices"]
    doc = field.metadata["doc"]
    return {
        "type": KINDS[type(field.default)],
        "scope": "machine" if name in OF_THE_MACHINE else "machine-overridable",
        "order": order,
        **({} if name in WITHOUT_DEFAULT else {"default": _plain(field.default)}),
        **({"enum": list(choices)} if choices else {}),
        **({} if low is None else {"minimum": _plain(low), "maximum": _plain(high)}),
        "description": f"{doc[0].upper()}{doc[1:]}.",
    }


def _plain(value: Any) -> Any:
    """A number as JSON would have it: 250, not 250.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def settings() -> dict[str, Any]:
    """All of the section."""
    return {PREFIX + name: setting_of(name, order) for order, name in enumerate(FIELDS, 1)}


def with_settings(package: str) -> str:
    """The text of package.json with the section put in."""
    content = json.loads(package)
    content["contributes"]["configuration"][1]["properties"] = settings()
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PACKAGE.write_text(with_settings(PACKAGE.read_text()))
