"""The wire format: any cut of the stream gives the same deltas, and no error repeats the conversation."""

from __future__ import annotations

import json
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.completions import LINE_LIMIT, MARKS, Lines, Marks, model_cards, parse_chunk, refusal, request_body
from core.engine import EngineRequest
from core.errors import EngineError, EngineRefused, EngineUnavailable, PromptTooLong
from core.types import Delta, Sampling, Usage

SECRET = "my parcel 8812734 never came to 12 Harbour Road"


def ask(text: str = SECRET, **fields: object) -> EngineRequest:
    return EngineRequest(messages=({"role": "user", "content": text},), sampling=Sampling(), **fields)  # type: ignore[arg-type]


def chunk(**delta: object) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "model": "m"})


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8),
    places=st.lists(st.integers(min_value=0, max_value=10_000), max_size=60),
    end=st.sampled_from([b"\n", b"\r\n"]),
    space=st.sampled_from([b"", b" "]),
    noise=st.sampled_from([b"", b": ping", b"event: message", b"id: 7", b"retry: 10", b"datum: no"]),
    done=st.booleans(),
)
def test_any_cut_gives_the_same_values(
    texts: list[str], places: list[int], end: bytes, space: bytes, noise: bytes, *, done: bool
) -> None:
    values = [orjson.dumps(text) for text in texts]
    events = [noise + end + b"data:" + space + value + end + end for value in values]
    stream = b"".join(events) + (b"data: [DONE]" + end + end if done else b"")
    lines = Lines()
    got = [value for part in cut(stream, places) for value in lines.feed(part)] + lines.end()
    assert got == values
    assert lines.done is done


@given(st.binary(max_size=400), st.lists(st.integers(min_value=0, max_value=400), max_size=20))
def test_no_bytes_break_the_reading(data: bytes, places: list[int]) -> None:
    lines = Lines()
    values = [value for part in cut(data, places) for value in lines.feed(part)] + lines.end()
    for value in values:
        try:
            parse_chunk(value)
        except EngineError:
            pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "delta", "content", "usage", "error", "model", "code"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_breaks_the_reading(value: object) -> None:
    try:
        assert isinstance(parse_chunk(orjson.dumps(value)), Delta)
    except EngineError:
        pass
    assert isinstance(refusal(400, orjson.dumps(value), ask()), EngineError)


def test_an_endless_event_is_refused_and_nothing_follows_done() -> None:
    lines = Lines()
    assert lines.feed(b"x" * LINE_LIMIT) == []
    with pytest.raises(EngineUnavailable, match="check base_url"):
        lines.feed(b"x")
    lines = Lines()
    assert lines.feed(b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n") == [b"1"]
    assert lines.feed(b"data: 3\n\n") == []


@pytest.mark.parametrize(
    ("value", "delta"),
    [
        (chunk(content="hi"), Delta("hi", model="m")),
        (chunk(reasoning="hm"), Delta("", "hm", model="m")),
        (chunk(reasoning_content="hm", content=None), Delta("", "hm", model="m")),
        (chunk(role="assistant", content=""), Delta(model="m")),
        (chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{}"}}]), Delta(model="m")),
        (b'{"choices":[],"usage":null}', Delta()),
        (b'{"choices":[{"delta":{},"finish_reason":"length"}]}', Delta(finish="length")),
        (
            b'{"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}',
            Delta(usage=Usage(7, 2, 4)),
        ),
        (b'{"usage":{"prompt_tokens":7,"prompt_tokens_details":null}}', Delta(usage=Usage(7))),
    ],
)
def test_a_chunk_is_read(value: bytes, delta: Delta) -> None:
    assert parse_chunk(value) == delta


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"{", EngineUnavailable),
        (b"[]", EngineUnavailable),
        (b'{"error":{"message":"died","code":500}}', EngineUnavailable),
        (b'{"object":"error","message":"died"}', EngineUnavailable),
        (b'{"error":"died"}', EngineUnavailable),
        (b'{"error":{"message":"maximum context length is 10","code":400}}', PromptTooLong),
        (b'{"choices":[{"delta":{},"finish_reason":"abort"}]}', EngineUnavailable),
    ],
)
def test_a_broken_chunk_or_an_error_object_is_an_error(value: bytes, error: type[EngineError]) -> None:
    with pytest.raises(error):
        parse_chunk(value)


def test_the_body_holds_what_was_asked_and_extra_cannot_stop_the_stream() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.8, max_tokens=9, stop=("END",), frequency_penalty=0.5)
    extra = {"temperature": 0.1, "seed": 7, "stream": False, "messages": [], "stream_options": None}
    request = EngineRequest(messages=({"role": "user", "content": "hi"},), sampling=sampling, extra=extra)
    assert json.loads(request_body(request, "base")) == {
        "model": "base",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.1,
        "top_p": 0.8,
        "frequency_penalty": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
        "seed": 7,
    }
    assert json.loads(request_body(ask(model="lora"), "base"))["model"] == "lora"
    assert "model" not in json.loads(request_body(ask(), ""))


def test_half_an_emoji_does_not_stop_a_conversation() -> None:
    body = json.loads(request_body(ask("look \ud83d here"), ""))
    assert body["messages"][0]["content"] == "look \ufffd here"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"message": "This model's maximum context length is 20 tokens", "code": 400}}, PromptTooLong),
        (400, {"error": {"message": "too much", "code": "context_length_exceeded"}}, PromptTooLong),
        (400, {"message": "prompt is longer than the maximum model length of 9"}, PromptTooLong),
        (400, {"error": {"message": "the request exceeds the available context size"}}, PromptTooLong),
        (400, {"error": {"message": "temperature must be positive"}}, EngineRefused),
        (401, {"error": "Unauthorized"}, EngineRefused),
        (404, {"error": {"message": "The model `x` does not exist."}}, EngineRefused),
        (302, {}, EngineRefused),
        (429, {}, EngineUnavailable),
        (500, {"error": {"message": "maximum context length"}}, EngineUnavailable),
        (503, {}, EngineUnavailable),
    ],
)
def test_a_status_becomes_its_error(status: int, body: object, error: type[EngineError]) -> None:
    got = refusal(status, orjson.dumps(body), ask())
    assert type(got) is error
    assert f"HTTP {status}" in str(got)


def test_the_servers_words_are_passed_on_clipped() -> None:
    assert "temperature must be positive" in str(
        refusal(400, b'{"error":{"message":"temperature must be positive"}}', ask())
    )
    assert len(str(refusal(400, orjson.dumps({"message": "no! " * 500}), ask()))) < 300
    assert str(refusal(404, b"<html>not found</html>", ask())).endswith(
        "check base_url and model: <html>not found</html>"
    )


@pytest.mark.parametrize(
    "words",
    [
        f"[{{'type': 'missing', 'msg': 'Field required', 'input': {{'content': '{SECRET}'}}}}]",
        f"cannot tokenize {SECRET[3:20]}",
        "no template for 订单号在哪里看",
        json.dumps("no template for 订单号在哪里看"),
        "bad number 8812734!",
        "bad\nparcel   8812734",
    ],
)
def test_no_refusal_quotes_the_conversation(words: str) -> None:
    request = ask(f"{SECRET}\n请问订单号在哪里看？")
    for body in (orjson.dumps({"error": {"message": words, "code": words}}), words.encode()):
        said = str(refusal(400, body, request))
        assert "8812734" not in said
        assert "Harbour" not in said
        assert "订单号" not in said
        assert "8ba2" not in said  # the escaped form of the same


def test_the_model_cards() -> None:
    body = {"data": [{"id": "base", "max_model_len": 4096}, {"id": "lora", "max_model_len": None}, {"no": 1}, 3]}
    assert [(card.name, card.context_tokens) for card in model_cards(orjson.dumps(body))] == [
        ("base", 4096),
        ("lora", 0),
    ]
    for wrong in (b"<html>", b"[]", b'{"data":null}'):
        with pytest.raises(EngineRefused, match="base_url"):
            model_cards(wrong)


# What a stream of gpt-oss may hold where vLLM hands its marks on: what is said, what is not, and the rest of it.
def message(header: str, text: str, end: str = "<|end|>") -> str:
    return f"<|start|>assistant<|channel|>{header}<|message|>{text}{end}"


def take(pieces: list[str]) -> tuple[str, str]:
    """What is said, and what is not."""
    marks = Marks()
    deltas = [marks.take(Delta(text=piece)) for piece in pieces]
    return "".join(delta.text for delta in deltas) + marks.rest, "".join(delta.reasoning for delta in deltas)


WORDS = st.text(st.sampled_from("订单 no. 7 <|>{}cehndmsag\n"), max_size=12).filter(
    lambda text: not any(mark in text for mark in MARKS) and "<|" not in text and not text.endswith("<")
)
SAID = st.sampled_from(["final", "commentary", "final <|constrain|>json"])
THOUGHT = st.sampled_from(
    ["analysis", "commentary to=functions.find_order <|constrain|>json", "final<|channel|>analysis", "", "elsewhere"]
)


@given(
    plain=WORDS,
    parts=st.lists(
        st.tuples(st.booleans(), SAID, THOUGHT, WORDS, st.sampled_from(["<|end|>", "<|return|>", "<|call|>"]))
    ),
    places=st.lists(st.integers(min_value=0, max_value=10_000), max_size=30),
    broken=st.integers(min_value=0, max_value=60),
)
def test_marks_and_thoughts_are_no_text_however_the_stream_is_cut(
    plain: str, parts: list[tuple[bool, str, str, str, str]], places: list[int], broken: int
) -> None:
    stream, expected = plain, plain
    for said, for_users, hidden, words, end in parts:
        stream += message(for_users, words, end) if said else message(hidden, f"INNERMOST{words}", end)
        expected += words if said else ""
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    got, thought = take([stream[start:end] for start, end in pairwise(edges)])
    assert got == expected
    assert thought.count("INNERMOST") == sum(not said for said, *_ in parts)
    # A reply that the limit cuts in the middle: no mark is whole in it, no thought and no more than was meant.
    short, _ = take([stream[: len(stream) - broken]])
    assert "INNERMOST" not in short and not any(mark in short for mark in MARKS)
    assert expected.startswith(short.partition("<")[0])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=9))
def test_text_without_marks_is_left_as_it_is(pieces: list[str]) -> None:
    assert take(pieces) == ("".join(pieces), "")


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ("<|message|>INNERMOST<|end|>" + message("final", "We open at nine.", "<|return|>"), "We open at nine."),
        ("<|channel|>final<|channel|>analysis<|message|>INNERMOST<|end|>" + message("final", "Done."), "Done."),
        ("<|channel|>analysis<|message|>INNERMOST", ""),
        ("<|channel|>final", ""),
        ("<|start|>assistant", ""),
        ("Of course.<|return|>INNERMOST", "Of course."),
        ("1 < 2 <b> <|im_end|>", "1 < 2 <b> <|im_end|>"),
    ],
)
def test_what_breaks_the_format_of_gpt_oss(stream: str, said: str) -> None:
    assert take([stream])[0] == said
    assert take(list(stream))[0] == said
