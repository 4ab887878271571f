"""What tells who somebody is does not stay readable, and what only looks a little like it does."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.masking import mask
from tests.examples import part_of

BEFORE = st.sampled_from(["", "卡号", "my number is ", "电话：", "(", "a, b; ", "\n", '"', "tel:", "客户"])
AFTER = st.sampled_from(["", "谢谢", " please", "。", ")", "\n", '"', ", thanks", "，收到吗"])
WIDE = str.maketrans("0123456789Xx-", "０１２３４５６７８９Ｘｘ－")
PATIENT = settings(deadline=None)
CHAOS = st.text(st.sampled_from("0123456789 -+()./@*aAXx卡１２－＠" + "\n\t" + "é٣"), max_size=60)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text(st.sampled_from("0123456789"), min_size=count, max_size=count)


def with_luhn(number: str) -> str:
    values = [int(digit) for digit in reversed(number)]
    total = sum(values[1::2]) + sum(sum(divmod(2 * value, 10)) for value in values[0::2])
    return number + str(-total % 10)


def grouped(number: str, separator: str) -> str:
    return separator.join(number[start : start + 4] for start in range(0, len(number), 4))


@st.composite
def cards(draw: st.DrawFn) -> str:
    start = draw(
        st.sampled_from(["4", "51", "55", "2221", "2720", "62", "6011", "34", "37", "3528", "30", "9860", "8600"])
    )
    number = with_luhn(start + draw(digits(draw(st.integers(13, 19)) - len(start) - 1)))
    return grouped(number, draw(st.sampled_from(["", " ", "-", " - ", "\u00a0", "－"])))


@st.composite
def residents(draw: st.DrawFn) -> str:
    born = draw(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
    number = str(draw(st.integers(110000, 829999))) + born.strftime("%Y%m%d") + draw(digits(3))
    total = sum(int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=True))
    return number + "10X98765432"[total % 11]


_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # as GB 11643 lists them


@PATIENT
@given(BEFORE, cards(), AFTER)
def test_a_card_keeps_its_last_four_digits(before: str, card: str, after: str) -> None:
    shown = "".join(character for character in card if character.isdigit())
    kept = {f"{before}***{shown[-4:]}{after}", f"{before}***{shown[-2:]}{after}"}  # two: it is an id's number, too
    assert mask(before + card + after) in kept


@PATIENT
@given(BEFORE, residents(), AFTER, st.booleans())
def test_a_chinese_resident_id_keeps_two(before: str, number: str, after: str, wide: bool) -> None:
    number = number.translate(WIDE) if wide else number
    assert mask(before + number + after) == f"{before}***{number[-2:]}{after}"


@PATIENT
@given(
    BEFORE,
    st.sampled_from(["", "+86", "+86 ", "86 ", "0086"]),
    st.sampled_from("3456789"),
    digits(9),
    st.sampled_from(["", " ", "-"]),
    AFTER,
)
def test_a_chinese_mobile_number_keeps_two(
    before: str, country: str, second: str, rest: str, separator: str, after: str
) -> None:
    number = separator.join((f"1{second}{rest[0]}", rest[1:5], rest[5:]))
    assert mask(before + country + number + after) == f"{before}***{number[-2:]}{after}"


@PATIENT
@given(BEFORE, st.sampled_from(["1", "44", "49", "852", "91"]), st.lists(digits(3), min_size=2, max_size=4), AFTER)
def test_an_international_number_keeps_two(before: str, country: str, groups: list[str], after: str) -> None:
    for number in (
        f"+{country} {' '.join(groups)}",
        f"+{country}{''.join(groups)}",
        f"+{country} ({groups[0]}) {groups[1]}",
    ):
        assert mask(before + number + after) == f"{before}***{re.sub('[^0-9]', '', number)[-2:]}{after}", number


@PATIENT
@given(
    BEFORE,
    st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,20}", fullmatch=True),
    st.sampled_from(["shop.de", "mail.example.com", "qq.com", "münchen.de"]),
    AFTER,
)
def test_an_address_keeps_its_domain(before: str, local: str, domain: str, after: str) -> None:
    assert mask(f"{before}{local}@{domain}{after}") == f"{before}***@{domain}{after}"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("DE89 3704 0044 0532 0130 00", "***00"),
        ("GB82WEST12345698765432", "***32"),
        ("NO93 8601 1117 947", "***47"),
        ("IBAN DE89370400440532013000 ABCD", "IBAN ***00 ABCD"),
        ("529.982.247-25", "***25"),
        ("880518-1000008", "***08"),
        ("A123456(3)", "***63"),
        ("S1234567D", "***7D"),
        ("0049 170 1234567", "***67"),
        ("https://anna:secret@shop.example/x", "https://anna:***@shop.example/x"),
        ("card 4111 1111 1111 1111 123", "card ***1111 123"),
        ("4111 1111 1111 1111 5500-0000-0000-0004", "***1111 ***0004"),
        ("13800138000, anna@shop.de, 4111111111111111", "***00, ***@shop.de, ***1111"),
    ],
)
def test_further_numbers_with_a_check_digit(number: str, shown: str) -> None:
    assert mask(number) == shown


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22 10:09:47",
        "2026-11-22T10:09:47.260841Z",
        "Sun, 22 Nov 2026 10:09:47 +0800",
        "2026-11-22 2026-11-23 2026-11-24 2026-11-25",
        "order 20261122-000123456",
        "Order #4711-2345-88",
        "订单20261122000123457号",
        "telegram/support/-1001234567890",
        "1790000000.123456",
        "1790000000000",
        "0012345678",
        "SF1234567890128",  # letters before it: a parcel, though the check digit of a card is right
        "4111 1111 1111 1112",
        "110105194912310021",
        "GB82WEST12345698765433",
        "529.982.247-26",
        "A123456(4)",
        "S1234567E",
        "0.13800138000",
        "2026-13800138000",
        "10.0.0.1:8080",
        "@channel support@localhost pkg@1.2.3",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "您好，您的订单正在派送中。",
    ],
)
def test_what_is_nobodys_number_stays_readable(text: str) -> None:
    assert mask(text) == text


@settings(max_examples=part_of(1500), deadline=None)
@given(st.one_of(CHAOS, st.text(max_size=40), st.lists(st.one_of(CHAOS, cards(), residents())).map("".join)))
def test_any_text_is_masked_once_and_for_all(text: str) -> None:
    once = mask(text)
    assert mask(once) == once
    assert sum(map(str.isdigit, once)) <= sum(map(str.isdigit, text))
    assert once.count("\n") == text.count("\n"), "what stands in one line does not hide what stands in the next"


@PATIENT
@given(st.lists(st.one_of(CHAOS.filter(lambda text: "\n" not in text), cards()), max_size=4))
def test_lines_are_masked_as_each_by_itself(lines: list[str]) -> None:
    assert mask("\n".join(lines)).split("\n") == [mask(line) for line in lines] or not lines
