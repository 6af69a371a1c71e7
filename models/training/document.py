"""The unit that every stage passes on: one source file with where it came from.

Invariant: a document's language and split depend on its source, path and text alone, so two runs
over the same archives agree. Pure; any thread.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

LANGUAGES = ("python", "javascript", "typescript", "go", "java", "rust", "c", "cpp")

LANGUAGE_OF_SUFFIX = {
    ".py": "python",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".go": "go",
    ".java": "java",
    ".rs": "rust",
    ".c": "c",
    ".h": "c",  # refined by `language_of`: most headers of C++ projects also end in .h
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".hh": "cpp",
    ".hpp": "cpp",
    ".hxx": "cpp",
}

_CPP_MARK = re.compile(r"^\s*(?:class\s+\w|namespace\b|template\s*<|using\s+\w)|\bstd::", re.M)
_VALID_PER_THOUSAND = 5


@dataclass(frozen=True, slots=True)
class Document:
    """One file of one source, its text already cleaned."""

    source: str
    path: str
    language: str
    text: str

    @property
    def split(self) -> str:
        """`valid` for half a percent of all documents, chosen by name, else `train`."""
        drawn = stable_hash(f"{self.source}\0{self.path}") % 1000
        return "valid" if drawn < _VALID_PER_THOUSAND else "train"


def stable_hash(text: str) -> int:
    """64 bits that are the same in every process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def language_of(path: str, text: str = "") -> str | None:
    """The language of a file by its name; the text only tells C++ headers from C's."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".h" and _CPP_MARK.search(text):
        return "cpp"
    return LANGUAGE_OF_SUFFIX.get(suffix)
