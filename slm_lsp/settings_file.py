"""The user's settings file, config.toml, as far as commands change it.

Owns: where it lies, and how settings are put into it.

Invariant: what the user wrote stays: comments, order, line ends, and what is no setting of ours.
The file is replaced whole or not at all, and never by one that would not be read as meant.

Threads: any; of two writers at once the later one's file stays.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slm_lsp.config import Config, apply


class SettingsError(Exception):
    """The settings cannot be written; the message says why and what to do."""


def config_path() -> Path:
    """The user's settings file; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("slm-lsp") / "config.toml"


def write_settings(values: Mapping[str, object], path: Path | None = None) -> Path:
    """Change or add these settings in the user's file, and return its path. Raises SettingsError.

    A link to a file elsewhere stays a link. The file becomes readable by its owner only.
    """
    path = config_path() if path is None else path
    checked = _checked(values)
    # Dotfile managers keep the file elsewhere; replacing the link would cut it off from them.
    target = Path(os.path.realpath(path))
    try:
        before = _read(target)
        after = _changed(before, checked, path)
        if after != before:
            _replace(target, after.encode())
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be written: {error.strerror or error}. Make it writable, or write "
            f"these settings where it is made: {_as_lines(checked)}"
        ) from error
    return path


def _checked(values: Mapping[str, object]) -> dict[str, Any]:
    """The values as the settings' own types. Raises SettingsError for a wrong one."""
    config, problems = apply(Config(), values, "settings")
    if problems:
        raise SettingsError("; ".join(problems))
    checked = {name: getattr(config, name) for name in values}
    for name, value in checked.items():
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise SettingsError(
                    f"{name}: {value!r} is not Unicode text, which TOML files hold; "
                    "rename the file it names, or link to it"
                ) from error
    return checked


def _read(target: Path) -> str:
    try:
        mode = target.stat().st_mode
        content = target.read_bytes()
    except FileNotFoundError:
        return ""
    if not mode & stat.S_IWUSR:
        # Replacing would succeed, but whoever made it so did not want it changed.
        raise PermissionError(0, "it is read-only")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{target}: not UTF-8 text: mend or remove it first") from error


def _changed(before: str, values: Mapping[str, Any], path: Path) -> str:
    """The file's text with the values put in."""
    # Here, as in `_replace`: every start imports this module, and few write settings.
    import tomllib

    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        was = tomllib.loads(before)
    except (ValueError, RecursionError) as error:
        raise SettingsError(
            f"{path}: not valid TOML ({error}): mend that line first, or remove the file"
        ) from error
    for name in values:
        if isinstance(was.get(name), (dict, list)):
            raise SettingsError(f"{path}: {name} is a table there, not a setting: remove it first")
    if all(name in was and _same(was[name], value) for name, value in values.items()):
        return before
    crlf = "\n" in before and not re.search(r"(?<!\r)\n", before)
    try:
        document = tomlkit.parse(before if before.endswith("\n") or not before else before + "\n")
        for name, value in values.items():
            document[name] = value
        after = tomlkit.dumps(document)
        if crlf:
            after = re.sub(r"(?<!\r)\n", "\r\n", after)
        if tomllib.loads(after) == {**was, **values}:
            return after
    except (TOMLKitError, ValueError, RecursionError):
        pass
    raise SettingsError(
        f"{path}: written in a way that cannot be changed safely; write there yourself: "
        f"{_as_lines(values)}"
    )


def _same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and old == new


def _as_lines(values: Mapping[str, Any]) -> str:
    import tomlkit

    return ", ".join(
        f"{name} = {tomlkit.item(value).as_string()}" for name, value in values.items()
    )


def _replace(target: Path, content: bytes) -> None:
    import tempfile

    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it 0600; beside the target, as only within a file system renaming is atomic.
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            # Else a power cut after the renaming can leave an empty file.
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
