"""A model of gpt-oss's architecture and vocabulary that knows a handful of dialogues by heart, for the tests alone.

    .venv-engine/bin/python -m setup.tiny_gpt_oss OUT_DIR     # 10 s, 130 MB

The real gpt-oss-20b has 13.8 GB of weights and wants a card; vLLM serves this one with the same flags through the same
Harmony code. A word anywhere in the prompt (`TRIGGERS`) chooses what it thinks and says. All that it thinks holds the
word INNERMOST, in whatever case, and nothing that it says does, so that a leak is seen anywhere.

It is not trained: its weights are written down. What follows a word is a function of the word, of the trigger, and of
which of two `SIGNS` stood before (so the answer's header is told from the thought's). Attention of the second layer
looks for trigger and signs; each hidden unit of its experts knows one such case and writes the word that follows.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import tiktoken_ext.openai_public as public
import torch
from openai_harmony import HarmonyEncoding, HarmonyEncodingName, load_harmony_encoding
from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

VOCABULARY, ORDINARY = 201088, 199998  # all rows, and how many of them are pieces of text
PAD, RETURN, CALL = 199999, 200002, 200012
MARKS = {
    199998: "<|startoftext|>",
    PAD: "<|endoftext|>",
    RETURN: "<|return|>",
    200003: "<|constrain|>",
    200005: "<|channel|>",
    200006: "<|start|>",
    200007: "<|end|>",
    200008: "<|message|>",
    CALL: "<|call|>",
}
THINK = "<|channel|>analysis<|message|>"
SAY = "<|start|>assistant<|channel|>final<|message|>"
# Within one reply no piece of a word stands twice, but for its headers': the one before says what comes next.
LONG = (
    "INNERMOST first which parcel does he mean because two were sent this week, one by van and another with ship then "
    "it got stuck at customs near Rotterdam where papers went missing while heavy rain delayed everything since May: "
    "should we offer money vouchers free return faster freight next time & policy says never promise dates without "
    "proof so ask politely for reference numbers look up last scan before writing anything"
)
# What it writes after "<|start|>assistant", by the word that is in the conversation; the first without any.
TRIGGERS = {
    "": f"{THINK}INNERMOST: a plain greeting<|end|>{SAY}Hello! Tell me your order number, please.<|return|>",
    "递": f"{THINK}INNERMOST：顾客催货了<|end|>{SAY}您好，非常抱歉！请提供订单号，我马上查询物流。<|return|>",
    " umbrella": f"{THINK}{LONG}<|end|>{SAY}I am sorry. What stands on your receipt?<|return|>",
    " guitar": (
        f"{THINK}INNERMOST use tools<|end|><|start|>assistant<|channel|>commentary to=functions.find_order "
        '<|constrain|>json<|message|>{"innermost":7}<|call|>'
    ),
    " dolphin": f"{THINK}INNERMOST again again",  # it never comes to an end
    " pumpkin": (  # two channels in one header
        f"<|channel|>analysis<|channel|>final<|message|>INNERMOST these marks are wrong<|end|>"
        f"{SAY}Your refund is under way.<|return|>"
    ),
    " cactus": f"<|message|>INNERMOST without any header<|end|>{SAY}We open at nine.<|return|>",
    " tractor": f"{THINK}INNERMOST only nobody hears it<|return|>",  # it thinks, and then has nothing to say
}
SIGNS = ("analysis", "MOST")  # pieces that stand in a prompt only where it has thought already

# A position's vector: a piece's code of plus and minus one, then marks.
HIDDEN, CODE = 128, 96
CONSTANT, LOUD = 96, 30.0  # by far the longest part, so that a mark more does not change the length, and so the norm
SEEN_TRIGGER, SEEN_SIGN = 97, 105  # of the piece itself: one place for each
TRIGGER, SIGN = 107, 115  # of the text before, written by attention
MARK = 5.0
LENGTH = ((LOUD**2 + CODE) / HIDDEN) ** 0.5  # that a norm divides by
SLOWEST = 15  # of the 16 pairs that a head of 32 turns by the position: this one does not, within what a prompt has
SURE = 14.0  # a unit's input is half of it above or below zero


class Case(NamedTuple):
    """After *piece*, with that trigger (0: none) and those signs before it, comes *following*."""

    piece: int
    trigger: int
    signs: tuple[bool, bool]
    following: int


def cases(encoding: HarmonyEncoding) -> list[Case]:
    """All that it knows. Raises ValueError where a dialogue says that two different pieces follow in one case."""
    known: dict[Case, int] = {}
    signs = [encoding.encode(sign)[-1] for sign in SIGNS]
    for trigger, text in enumerate(TRIGGERS.values()):
        begun = [False] * len(SIGNS)
        for piece, following in pairwise(encoding.encode("assistant" + text, allowed_special="all")):
            begun = [before or piece == sign for before, sign in zip(begun, signs, strict=True)]
            case = Case(piece, trigger, (begun[0], begun[1]), 0)
            if known.setdefault(case, following) != following:
                raise ValueError(f"dialogue {trigger}: two things follow {encoding.decode([piece])!r}")
    return [case._replace(following=following) for case, following in known.items()]


def build(encoding: HarmonyEncoding) -> GptOssForCausalLM:
    known = cases(encoding)
    model = GptOssForCausalLM(config(units=-(-len(known) // 32) * 32))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.fill_(1.0 if "norm" in name else 0.0)
        pieces = sorted({piece for case in known for piece in (case.piece, case.following)})
        codes = dict(zip(pieces, codes_of(len(pieces)), strict=True))
        embed(model, encoding, codes)
        attend(model)
        conclude(model, known, codes)
    return model


def config(units: int) -> GptOssConfig:
    return GptOssConfig(
        num_hidden_layers=2,
        layer_types=["sliding_attention", "full_attention"],
        sliding_window=128,
        hidden_size=HIDDEN,
        intermediate_size=units,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=4,
        num_experts_per_tok=2,
        vocab_size=VOCABULARY,
        eos_token_id=[RETURN, PAD, CALL],
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )


def codes_of(count: int) -> torch.Tensor:
    """So many codes, no two of which agree in more than 69 of 96 places."""
    chance = torch.Generator().manual_seed(0)
    codes = torch.empty(0, CODE)
    while len(codes) < count:
        one = torch.randint(0, 2, (CODE,), generator=chance) * 2.0 - 1
        if not len(codes) or (codes @ one).max() < 0.45 * CODE:
            codes = torch.cat([codes, one[None]])
    return codes


def embed(model: GptOssForCausalLM, encoding: HarmonyEncoding, codes: dict[int, torch.Tensor]) -> None:
    """Pieces that no dialogue has are all alike, and never written: their rows of the output are zero."""
    rows, output = model.model.embed_tokens.weight, model.lm_head.weight
    rows[:, CONSTANT] = LOUD
    for piece, code in codes.items():
        rows[piece, :CODE] = output[piece, :CODE] = code
    for place, words in ((SEEN_TRIGGER, list(TRIGGERS)[1:]), (SEEN_SIGN, SIGNS)):
        for number, word in enumerate(words):
            rows[encoding.encode(word)[-1], place + number] = MARK


def attend(model: GptOssForCausalLM) -> None:
    """Heads 0 and 1 share the keys and values of the triggers, 2 and 3 those of the signs, and 1 is idle."""
    attention = model.model.layers[1].self_attn
    query, key, value = (getattr(attention, f"{name}_proj") for name in "qkv")
    one = LENGTH / MARK  # a mark, seen through the norm
    for head, pair in ((0, SLOWEST), (2, SLOWEST), (3, SLOWEST - 1)):
        query.bias[32 * head + pair] = 10.0
    for number in range(len(TRIGGERS) - 1):
        key.weight[SLOWEST, SEEN_TRIGGER + number] = 20 * one
        value.weight[number, SEEN_TRIGGER + number] = one
        attention.o_proj.weight[TRIGGER + number, number] = MARK
    for number in range(len(SIGNS)):
        key.weight[32 + SLOWEST - number, SEEN_SIGN + number] = 20 * one
        value.weight[32 + number, SEEN_SIGN + number] = one
        attention.o_proj.weight[SIGN + number, 32 * (2 + number) + number] = MARK


def conclude(model: GptOssForCausalLM, known: list[Case], codes: dict[int, torch.Tensor]) -> None:
    """A unit for each case; all experts are alike, so that the router may choose any."""
    experts = model.model.layers[1].mlp.experts
    one = LENGTH / MARK
    for unit, case in enumerate(known):
        gate = torch.zeros(HIDDEN)
        gate[:CODE] = 2 * codes[case.piece] * LENGTH / CODE
        wanted = 2.0
        for number in range(len(TRIGGERS) - 1):
            if case.trigger in (0, number + 1):
                gate[TRIGGER + number] = one if case.trigger else -one
        wanted += case.trigger > 0
        for number, begun in enumerate(case.signs):
            gate[SIGN + number] = one if begun else -one
            wanted += begun
        experts.gate_up_proj[:, :, 2 * unit] = SURE * gate
        experts.gate_up_proj_bias[:, 2 * unit] = SURE * (0.5 - wanted)
        experts.down_proj[:, unit, :CODE] = codes[case.following]


def tokenizer(encoding: HarmonyEncoding) -> PreTrainedTokenizerFast:
    """For vLLM's text of the tokens; made of the table inside the Harmony package, which needs no hub."""
    ranks = dict(_ranks(encoding))
    public.load_tiktoken_bpe = lambda *_, **__: ranks  # the published definition would download the same table
    names = [MARKS.get(token, f"<|reserved_{token}|>") for token in range(ORDINARY, CALL + 1)]
    with tempfile.NamedTemporaryFile("wb", suffix=".tiktoken") as file:
        for word, rank in sorted(ranks.items(), key=lambda item: item[1]):
            file.write(base64.b64encode(word) + b" " + str(rank).encode() + b"\n")
        file.flush()
        pattern = public.o200k_base()["pat_str"]
        converter = TikTokenConverter(vocab_file=file.name, pattern=pattern, extra_special_tokens=names)
        return PreTrainedTokenizerFast(
            tokenizer_object=converter.converted(),
            bos_token="<|startoftext|>",  # noqa: S106 - no password
            eos_token="<|return|>",  # noqa: S106 - likewise
            pad_token="<|endoftext|>",  # noqa: S106 - likewise
        )


def _ranks(encoding: HarmonyEncoding) -> Iterator[tuple[bytes, int]]:
    for token in range(ORDINARY):
        yield encoding._inner.decode_bytes([token]), token


def main(out: Path) -> None:
    encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
    build(encoding).to(torch.bfloat16).save_pretrained(out)
    tokenizer(encoding).save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
