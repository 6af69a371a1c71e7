"""Fetching over HTTP: what is gone on with, what is refused, and what the user is told."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hub_scene import Hub, running_hub
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.registry import web
from slm_lsp.registry.part import KEPT_DAYS, Part, parts_of, remove_old
from slm_lsp.registry.steps import PullError
from slm_lsp.registry.web import WebFile

cuts_lists = st.lists(st.integers(0, 1500), max_size=3)
CONTENT = b"GGUF" + random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


class Scene:
    """Fetches `/m.gguf` of a hub into a folder; pauses are noted, not made."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub = hub
        self.folder = folder
        self.pauses: list[float] = []
        self.seen: list[tuple[int, int]] = []
        self.rooms: list[int] = []

    @property
    def part(self) -> Part:
        return Part(self.folder, "m", "origin")

    def fetch(self, size_bytes: int | None = None, sha256: str | None = SHA256) -> bytes:
        part = self.part
        asked = WebFile(f"{self.hub.url}/m.gguf?signature=secret", size_bytes, sha256)
        got = web.fetch(
            asked,
            part,
            lambda done, total: self.seen.append((done, total)),
            self.rooms.append,
            self.pauses.append,
        )
        part.move_to(self.folder / "out")
        content = (self.folder / "out").read_bytes()
        assert hashlib.sha256(content).hexdigest() == got
        return content

    def check_refused(
        self,
        *says: str,
        kept: int = 0,
        sha256: str | None = SHA256,
        size_bytes: int | None = None,
    ) -> None:
        with pytest.raises(PullError) as caught:
            self.fetch(size_bytes, sha256)
        for text in says:
            assert text in str(caught.value)
        assert "secret" not in str(caught.value)
        assert self.part.n_bytes == kept
        if not kept:
            assert not parts_of(self.folder, "m")


@pytest.fixture
def scene(hub: Hub, tmp_path: Path) -> Scene:
    return Scene(hub, tmp_path)


def test_a_file_comes_whole(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT)
    assert scene.fetch() == CONTENT
    total = len(CONTENT)
    assert scene.rooms == [total]
    assert scene.seen[0] == (0, total)
    assert scene.seen[-1] == (total, total)
    assert parts_of(scene.folder, "m") == []


def test_a_cut_connection_is_gone_on_with_where_it_was_cut(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT, cuts=[100_000, 50_000])
    assert scene.fetch() == CONTENT
    assert [each.start for each in scene.hub.gets()] == [0, 100_000, 150_000]
    assert len(scene.pauses) == 2
    assert scene.rooms[1] == len(CONTENT) - 100_000


def test_wherever_it_is_cut_the_file_is_the_same(hub: Hub) -> None:
    content = CONTENT[:3000]

    @settings(max_examples=25, deadline=None)
    @given(cuts=st.lists(st.integers(0, 1500), max_size=6), ranges=st.booleans(), pulls=cuts_lists)
    def check(cuts: list[int], ranges: bool, pulls: list[int]) -> None:
        hub.serve("/m.gguf", content, cuts=[*cuts], ranges=ranges)
        with tempfile.TemporaryDirectory() as folder:
            part = Part(Path(folder), "m", "origin")
            # What an earlier pull left: the beginning of the same file, as long as it may be.
            part.restart('"1"')
            for length in pulls:
                part.append(content[part.n_bytes :][:length])
            part.close()
            part = Part(Path(folder), "m", "origin")
            asked = WebFile(f"{hub.url}/m.gguf", None, hashlib.sha256(content).hexdigest())
            with suppress(PullError):  # too many failures in a row
                web.fetch(asked, part, lambda *_: None, lambda _: None, lambda _: None)
                part.move_to(Path(folder) / "out")
                assert (Path(folder) / "out").read_bytes() == content
                return
            assert part.file.read_bytes() == content[: part.n_bytes]

    check()


def test_the_next_pull_goes_on_where_the_last_gave_up(scene: Scene) -> None:
    served = scene.hub.serve("/m.gguf", CONTENT, cuts=[70_000])
    served.statuses = []
    scene.hub.files["/m.gguf"].cuts += [0] * web.MAX_FAILURES
    scene.check_refused("are kept", "pull again", kept=70_000)
    assert scene.fetch() == CONTENT
    assert scene.hub.gets()[-1].start == 70_000


def test_a_server_without_ranges_starts_over(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT, ranges=False, cuts=[100_000])
    assert scene.fetch() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(scene: Scene) -> None:
    served = scene.hub.serve("/m.gguf", b"GGUF" + bytes(300_000), cuts=[100_000, *[0] * 4])
    scene.check_refused("are kept", kept=100_000, sha256=None)
    served.content, served.etag = CONTENT, '"2"'
    assert scene.fetch(sha256=None) == CONTENT


def test_a_wrong_part_is_thrown_away_once(scene: Scene) -> None:
    """The ETag is the same, the bytes are not: only the hash tells."""
    served = scene.hub.serve("/m.gguf", b"GGUF" + bytes(300_000), cuts=[100_000, *[0] * 4])
    scene.check_refused("are kept", kept=100_000, sha256=None)
    served.content = CONTENT
    assert scene.fetch() == CONTENT
    assert [each.start for each in scene.hub.gets()[-2:]] == [100_000, 0]


def test_a_part_that_is_too_long_is_thrown_away(scene: Scene) -> None:
    part = scene.part
    part.restart('"1"')
    part.append(CONTENT + b"more")
    part.close()
    scene.hub.serve("/m.gguf", CONTENT)
    assert scene.fetch() == CONTENT
    part.restart('"1"')
    part.append(CONTENT + b"more")
    part.close()
    assert scene.fetch(len(CONTENT)) == CONTENT


def test_a_whole_part_needs_no_request(scene: Scene) -> None:
    part = scene.part
    part.restart("")
    part.append(CONTENT)
    part.close()
    assert scene.fetch(len(CONTENT)) == CONTENT
    assert scene.hub.asked == []


def test_a_wrong_hash_names_both(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT)
    scene.check_refused(SHA256, "0" * 64, "Nothing was kept", sha256="0" * 64)
    assert len(scene.hub.gets()) == 1


@pytest.mark.parametrize(
    ("status", "says"), [(404, "no file at"), (410, "no file at"), (401, "browser"), (418, "418")]
)
def test_what_a_status_means(scene: Scene, status: int, says: str) -> None:
    scene.hub.serve("/m.gguf", CONTENT, statuses=[status])
    scene.check_refused(says, str(status))


def test_a_busy_server_is_asked_again(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT, statuses=[503, 429])
    assert scene.fetch() == CONTENT
    assert scene.pauses == [1.0, 2.0]


def test_a_server_that_stays_busy_is_given_up(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT, statuses=[503] * 9)
    scene.check_refused("status 503", "Try again later")
    assert len(scene.hub.gets()) == web.MAX_FAILURES + 1


def test_nobody_at_the_other_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.hub.url = "http://127.0.0.1:1"
    scene.check_refused("cannot be reached", "HTTPS_PROXY")
    assert scene.pauses == []


def test_more_than_the_head_says(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT)
    with pytest.raises(PullError, match=r"has 300004 bytes, expected 10\."):
        scene.fetch(10)
    scene.hub.serve("/m.gguf", CONTENT, chunked=True)
    with pytest.raises(PullError, match=r"goes on behind the 10 bytes"):
        scene.fetch(10)
    assert not parts_of(scene.folder, "m")


def test_less_than_the_head_says(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT, declared_bytes=len(CONTENT) + 5)
    assert scene.fetch() == CONTENT
    assert [each.start for each in scene.hub.gets()] == [0, len(CONTENT)]
    total, said = len(CONTENT), len(CONTENT) + 5
    scene.check_refused(f"has {total} bytes, expected {said}", size_bytes=said)


def test_an_unknown_length_is_no_problem(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", CONTENT, chunked=True)
    assert scene.fetch() == CONTENT
    assert scene.seen[-1] == (len(CONTENT), 0)


def test_a_web_page_is_no_model(scene: Scene) -> None:
    scene.hub.serve("/m.gguf", b"<html>", content_type="text/html; charset=utf-8")
    scene.check_refused("web page", sha256=None)


def test_redirects_are_followed_to_where_it_is_safe(scene: Scene) -> None:
    assert scene.hub.cdn is not None
    scene.hub.cdn.serve("/other", CONTENT)
    served = scene.hub.serve("/m.gguf", CONTENT, redirect=f"{scene.hub.cdn.url}/other")
    assert scene.fetch() == CONTENT
    served.redirect = "http://example.com/other"
    scene.check_refused("http://example.com", "not protected")
    served.redirect = "ftp://127.0.0.1/other"
    scene.check_refused("ftp://127.0.0.1", "not protected")
    served.redirect = f"{scene.hub.url}/m.gguf"
    scene.check_refused("redirect")


def test_a_server_that_answers_for_another_part_is_given_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.hub.serve("/m.gguf", CONTENT, statuses=[416])
    scene.check_refused("another part")


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"origin": "other", "validator": ""}'])
def test_bytes_that_no_note_names_are_nobodys(tmp_path: Path, note: str) -> None:
    part = Part(tmp_path, "m", "origin")
    part.restart("")
    part.append(CONTENT)
    part.close()
    assert Part(tmp_path, "m", "origin").n_bytes == len(CONTENT)
    (file,) = tmp_path.glob("*.json")
    file.write_text(note)
    assert Part(tmp_path, "m", "origin").n_bytes == 0


def test_old_parts_go(tmp_path: Path) -> None:
    import os
    import time

    for name in ("old", "new"):
        part = Part(tmp_path, name, "origin")
        part.restart("")
        part.append(b"GGUF")
        part.close()
    long_ago_s = time.time() - (KEPT_DAYS + 1) * 86_400
    for file in parts_of(tmp_path, "old"):
        os.utime(file, (long_ago_s, long_ago_s))
    note = next(file for file in parts_of(tmp_path, "new") if file.suffix == ".json")
    os.utime(note, (long_ago_s, long_ago_s))
    remove_old(tmp_path)
    assert not parts_of(tmp_path, "old")
    assert len(parts_of(tmp_path, "new")) == 2
