"""What README and scripts say is what there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slm_lsp.config import FIELDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_readme() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", README, re.MULTILINE))
    assert rows == {
        name: f"{each.default:g}" if isinstance(each.default, float) else str(each.default)
        for name, each in FIELDS.items()
    }


def test_the_commands_of_the_readme_are_those_of_ci() -> None:
    commands = re.findall(r"```sh\n(scripts/.*?)\n```", README)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert len(commands) == 2
    for command in commands:
        assert command in ci


def test_every_file_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#: ]+)[^)#:]*\)", README):
        assert (ROOT / target).exists(), target


def test_every_yes_of_ours_links_to_a_test() -> None:
    table = README[README.index("## Beside others") :]
    ours = re.findall(r"^\| [^|]+ \| ([^|]+) \| (?:yes|part|–|\?) \|", table, re.MULTILINE)
    assert len(ours) > 30
    for cell in ours:
        link = re.fullmatch(r'\[yes\]\((tests/\S+\.py) "(test_\w+)"\)', cell)
        if link is None:
            assert cell == "not yet"
            continue
        source = (ROOT / link[1]).read_text(encoding="utf-8")
        assert re.search(rf"^(?:async )?def {link[2]}\(", source, re.MULTILINE), cell


@pytest.mark.e2e
def test_without_a_compiler_install_says_what_to_install(tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("bash", "dirname", "grep", "mktemp", "awk", "tee", "tail", "rm", "cat"):
        found = shutil.which(name)
        assert found
        (commands / name).symlink_to(found)
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "install", checkout / "scripts")
    environment = {
        **os.environ,
        "PATH": str(commands),
        "PYTHON": sys.executable,
        "PIP_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [checkout / "scripts" / "install"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no C and C++ compiler found" in done.stderr
    assert "apt-get install build-essential" in done.stderr
