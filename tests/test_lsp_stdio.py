"""How the process ends, whatever it is at and whoever ends it.

Threads: the event loop; the server is a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import pytest
from editor import URI
from pipe_editor import PipeEditor

SERVE_FAKE = str(Path(__file__).parent / "serve_fake.py")


async def test_a_model_that_still_loads_keeps_nobody_waiting() -> None:
    async with PipeEditor([SERVE_FAKE, "stuck"]) as editor:
        await editor.start()
        message = editor.inline_message(await editor.open("x = ("))
        await editor.send(message)
        assert (await editor.result(message["id"]))["items"] == []
        # Nothing to tell of on stderr: editors cancel what has been answered all the time.
        await editor.notify("$/cancelRequest", {"id": message["id"]})
        await editor.notify("textDocument/didSave", {"textDocument": {"uri": URI}})
    assert editor.stderr == ""


async def test_exit_without_shutdown() -> None:
    async with PipeEditor([SERVE_FAKE, "stuck"]) as editor:
        await editor.start()
        editor.expected_exit = 1
        await editor.notify("exit")
        await editor.ended()
    assert editor.stderr == ""


async def test_a_client_that_is_gone() -> None:
    """Its end of the pipe is closed: no message says so."""
    async with PipeEditor([SERVE_FAKE, "stuck"]) as editor:
        await editor.start()
        await editor.open("x = (")
        editor.expected_exit = 1
        editor.hang_up()
        await editor.ended()
    assert editor.stderr == ""


async def test_a_client_that_reads_no_more() -> None:
    """Its end of stdout is closed, and that of stdin is not."""
    async with PipeEditor([SERVE_FAKE, "stuck"]) as editor:
        await editor.start()
        transport: Any = editor._process._transport  # type: ignore[attr-defined]
        transport.get_pipe_transport(1).close()
        editor.expected_exit = 1
        message = editor.inline_message(await editor.open("x = ("))
        await editor.send(message)
        del editor._answers[message["id"]]
        await editor.ended()
    assert editor.stderr == ""


async def process() -> Process:
    """One that lives until it is killed."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; sys.stdin.read()", stdin=asyncio.subprocess.PIPE
    )


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of a process's end")
async def test_a_client_whose_process_has_ended() -> None:
    """Somebody else holds its ends of the pipes."""
    client = await process()
    async with PipeEditor([SERVE_FAKE, "stuck"]) as editor:
        await editor.start(processId=client.pid)
        await editor.open("x = (")
        editor.expected_exit = 1
        client.kill()
        await editor.ended()
    await client.wait()
    assert editor.stderr == ""


async def test_a_client_whose_process_is_not_known_here() -> None:
    """Its number, in a container, is one of the host's."""
    ended = await process()
    ended.kill()
    await ended.wait()
    for pid in (ended.pid, -1):
        async with PipeEditor([SERVE_FAKE, "stuck"]) as editor:
            await editor.start(processId=pid)
            await editor.open("x = (")
        assert editor.stderr == ""


async def test_interrupted_from_the_terminal() -> None:
    async with PipeEditor([SERVE_FAKE, "stuck"]) as editor:
        await editor.start()
        editor.expected_exit = -signal.SIGINT
        editor.interrupt()
        await editor.ended()
    assert editor.stderr == ""


async def test_what_a_start_compiled_is_kept_when_the_server_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    serve = ["-m", "slm_lsp", "serve", "--engine", "inproc", "--model", str(tmp_path / "no.gguf")]
    async with PipeEditor(serve) as editor:
        await editor.start()
        assert "no.gguf" in (await editor.take("window/showMessage"))["message"]
        [path] = (tmp_path / "compiled").iterdir()
        # What `initialize` consists of, too, and not the many classes that nobody asks for.
        codes = path.read_bytes()
        assert b"lsprotocol.types.InitializeParams" in codes
        assert b"lsprotocol.types.ServerCapabilities" in codes
        assert b"lsprotocol.types.CallHierarchyItem" not in codes
        editor.expected_exit = -signal.SIGINT
        editor.interrupt()
        await editor.ended()
