"""What is fuzzed with bytes, and what must hold whatever they are.

Owns: one function a target, which takes bytes and fails by an exception, and the bytes that a
fuzzer begins with. Used with coverage by `fuzz_run`, and on what was found and on random changes
of the beginnings by `test_fuzz_targets`.

Invariant: a target is deterministic and bounded by the size of its input. Threads: any.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from line_model import LineModel

from slm_lsp.completion.place import Place
from slm_lsp.completion.postprocess import RejectReason, apply
from slm_lsp.context.languages import LANGUAGES, UNKNOWN
from slm_lsp.deadline import CancelToken, Deadline, FakeClock
from slm_lsp.engine import wire
from slm_lsp.engine.base import EngineStats, ModelLoadError
from slm_lsp.engine.codec import WireError
from slm_lsp.engine.ggml_file import FAMILIES, NotThisFamily, read_as
from slm_lsp.engine.gguf_check import check_header
from slm_lsp.engine.wire import HEADER, Message
from slm_lsp.gguf.header import TOKEN_TYPES, TOKENS, GgufError
from slm_lsp.gguf.reader import read_header
from slm_lsp.text import position as pos
from slm_lsp.text.document import Document, Edit
from slm_lsp.text.position import Encoding
from slm_lsp.types import (
    CompletionContext,
    EngineState,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Prompt,
    Special,
    Text,
    Trigger,
    Want,
)

ENCODINGS = tuple(Encoding)
NUMBERS = struct.Struct("<Biiiih")
LANGUAGE_NAMES = (*sorted(LANGUAGES), "")


# --- positions ---


def position(data: bytes) -> None:
    """A text, an offset, and an edit: documents, positions and the model of lines agree."""
    if len(data) < NUMBERS.size:
        return
    kind, line, character, end_line, end_character, n_inserted = NUMBERS.unpack_from(data)
    raw = data[NUMBERS.size :]
    text = raw[: len(raw) & ~1].decode("utf-16-le", "surrogatepass")
    n_inserted = max(0, min(n_inserted, len(text)))
    inserted, text = text[:n_inserted], text[n_inserted:]
    encoding = ENCODINGS[kind % 3]
    model = LineModel.of(text, encoding.value)
    document = Document("file:///a", "python", 1, text, encoding)
    _check_position(document, model, (line, character), encoding)
    end = None if kind & 64 else (end_line, end_character)
    document.apply(Edit(None if kind & 128 else (line, character), end, inserted))
    model.edit(None if kind & 128 else (line, character), end, inserted)
    _check_position(document, model, (end_line, end_character), encoding)


def _check_position(
    document: Document, model: LineModel, at: tuple[int, int], encoding: Encoding
) -> None:
    text = model.text
    assert document.text == text
    assert document.line_starts() == model.starts()
    offset = document.offset_at(at)
    assert offset == model.offset(*at) == pos.offset_at(text, at, encoding)
    place = document.position_at(offset)
    assert place == pos.position_at(text, offset, encoding)
    assert document.offset_at(place) == offset
    assert pos.byte_offset(text, offset) == len(text[:offset].encode("utf-8", "surrogatepass"))


# --- the daemon's socket ---


def wire_codec(data: bytes) -> None:
    """A body is refused by WireError, or is a message that goes through its frame unchanged."""
    if len(data) >= HEADER.size:
        with suppress(WireError):
            n_bytes = wire.length(data[: HEADER.size])
            assert 0 < n_bytes <= wire.MAX_FRAME_BYTES
    clock = FakeClock(0.0)
    try:
        message = wire.decode(data, clock)
    except WireError:
        return
    frame = wire.encode(message)
    assert wire.length(frame[: HEADER.size]) == len(frame) - HEADER.size
    again = wire.decode(frame[HEADER.size :], clock)
    # By their frames: a number that is none equals not even itself.
    assert wire.encode(again) == frame


# --- headers of model files ---


def headers(data: bytes) -> None:
    """The reader of GGUF headers, as the registry and as the engine ask it, and those of the format
    before refuse, or stay in the file."""
    with open(os.memfd_create("header"), "wb", buffering=0) as file:
        file.write(data)
        path = Path(f"/proc/self/fd/{file.fileno()}")
        with suppress(GgufError):
            found = read_header(path, (TOKENS, TOKEN_TYPES), (1, 2, 3))
            assert found.n_parameters <= 64 * len(data) * len(found.tensors)
            assert len(found.specials({"<fim>"})) <= len(data)
            assert len(found.tensors) <= len(data)
            assert len(found.architecture) <= len(data)
        with suppress(ModelLoadError):
            check_header(path)
        for family in FAMILIES:
            with suppress(NotThisFamily, ModelLoadError):
                read_as(path, family)


# --- post-processing ---


def postprocess(data: bytes) -> None:
    """A text said at a place is refused with a reason, or shown without its end in white space."""
    if len(data) < 6:
        return
    language, bits, at, behind = data[0], data[1], data[2] * 4, data[3] * 4
    text = data[4:].decode("utf-8", "surrogateescape" if bits & 128 else "replace")
    prefix, said = text[:at], text[at + behind :]
    context = CompletionContext(
        prefix,
        text[at : at + behind],
        inferred_indent="    " if bits & 1 and prefix[-1:] in ("", "\n") else "",
        in_string=bool(bits & 2),
        in_comment=bits & 6 == 4,
        want=Want.BLOCK if bits & 8 else Want.LINE,
        trigger=Trigger.INVOKED if bits & 16 else Trigger.AUTOMATIC,
    )
    name = LANGUAGE_NAMES[language % len(LANGUAGE_NAMES)]
    finish = list(Finish)[bits // 32 % len(Finish)]
    place = Place.of(context, finish, LANGUAGES.get(name, UNKNOWN))
    shown = apply(said, place)
    if not isinstance(shown, RejectReason):
        assert shown.strip()
        # Indentation may be wider here than the model's, and line ends longer.
        assert len(shown) <= 20 * len(said) + 2 * len(place.line) * (said.count("\n") + 2) + 50


# --- what a fuzzer begins with ---


def _wire_seeds() -> list[bytes]:
    deadline = Deadline.after(100.0, FakeClock(0.0))
    prompt = Prompt((Special("<fim>"), Text("def f(\ud83d):")))
    messages: list[Message] = [
        wire.Hello(wire.PROTOCOL_VERSION, "1", "key", 5),
        wire.Generate(7, GenerationRequest("file:///a", prompt, deadline, CancelToken())),
        wire.Cancel(1),
        wire.Answer(1, Generation("x", Finish.STOP, logprobs=(0.5,), ends=(1,)), EngineStats()),
        wire.Error(None, wire.Trouble.VERSION, "no"),
        wire.Stats(1, EngineStats(), 2),
        wire.State(EngineState.READY, info=ModelInfo("m", 5, metadata={"a": "b"})),
        wire.Stop(),
    ]
    bodies = [wire.encode(message)[HEADER.size :] for message in messages]
    return [*bodies, b"[" * 100, json.dumps({"type": "stop", "x": [1e400]}).encode(), b"\xff"]


def _gguf_seed(*keys: bytes, n_tensors: int = 0, tensors: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, len(keys)) + b"".join(keys) + tensors


def _header_seeds() -> list[bytes]:
    def text(raw: bytes) -> bytes:
        return struct.pack("<Q", len(raw)) + raw

    def key(name: bytes, kind: int, value: bytes) -> bytes:
        return text(name) + struct.pack("<I", kind) + value

    tokens = struct.pack("<IQ", 8, 2) + text(b"a") + text(b"<fim>")
    keys = [
        key(b"general.architecture", 8, text(b"llama")),
        key(b"tokenizer.ggml.tokens", 9, tokens),
        key(b"tokenizer.ggml.token_type", 9, struct.pack("<IQ2i", 5, 2, 1, 3)),
        key(b"general.alignment", 4, struct.pack("<I", 32)),
        key(b"lists", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQI", 4, 1, 1)),
    ]
    tensor = text(b"t") + struct.pack("<I2QIQ", 2, 4, 8, 0, 0)
    ggml = [b"lmgg" + struct.pack("<8i", *range(1, 9)), b"lmgg" + bytes(100)]
    return [_gguf_seed(), _gguf_seed(*keys, n_tensors=1, tensors=tensor + bytes(200)), *ggml]


def _position_seeds() -> list[bytes]:
    texts = ["a\r\nb", "\ud83dx\ude00\r\n\n\r", "😀\u2028e\u0301\f\n漢", ""]
    heads = [NUMBERS.pack(kind, 0, 1, 1, 0, 1) for kind in (0, 1, 2, 64, 128)]
    return [head + text.encode("utf-16-le", "surrogatepass") for head in heads for text in texts]


def _postprocess_seeds() -> list[bytes]:
    texts = ["def f(x):\n    return <fim_middle>x\n", 'a = "b\r\n"""c"""', "f(g(1), [2])\n\n}"]
    heads = [bytes([n, 17 * n % 256, 4, 2]) for n in (0, 3, 9, 30)]
    return [head + text.encode() for head in heads for text in texts]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "position": (position, _position_seeds),
    "wire": (wire_codec, _wire_seeds),
    "headers": (headers, _header_seeds),
    "postprocess": (postprocess, _postprocess_seeds),
}
