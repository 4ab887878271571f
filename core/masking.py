"""Masks what tells who a person is - e-mail addresses, telephone, card and id numbers - and leaves the rest readable.

Of a number its last digits stay (four of a card's, two of the others), of an e-mail address its domain, so that an
operator can still tell two of them apart. A number without a `+` counts only where its form or its check digits speak
for it, because order numbers, dates and the platforms' ids are made of digits, too. Chinese is written without spaces
and with digits of its own width: what stands around a number need not be a space, and full-width digits count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

STARS = "***"
CARD_KEEPS, NUMBER_KEEPS = 4, 2
SHORTEST = 11  # digits of a number that has neither a + nor letters
LEAST_CARD, LONGEST_CARD, CARD_GROUPS = 13, 19, 5

Span = tuple[int, int, int]  # from, to, and how many of its last digits stay
Ids = tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...]  # how each is written, and whether its check is right

# One character for one, so that what is found in the plain text stands at the same place in the given one.
_ZEROS = (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50)  # Arabic, Persian, Devanagari, Bengali, Thai
_PLAIN = (
    {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
    | {zero + digit: ord("0") + digit for zero in _ZEROS for digit in range(10)}
    | dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0x30FC), ord("-"))
    | dict.fromkeys((0x00A0, *range(0x2000, 0x200C), 0x202F, 0x3000), ord(" "))
)
# Eleven digits, whatever stands between them; before it a cheaper look: as many on end, or two with little between.
_LONG = re.compile(r"[0-9](?<![0-9][0-9])(?:[^0-9\n]{0,3}[0-9]){10}")
_PERHAPS = re.compile(r"[0-9](?<![0-9][0-9])(?:[0-9]{10}|[0-9]{0,9}+[^0-9\n]{1,3}[0-9])")

_LOCAL = r"A-Za-z0-9À-ɏ._%+'~-"
_EMAIL = re.compile(rf"(?<![{_LOCAL}])[{_LOCAL}]++(?=@(?:[A-Za-z0-9À-ɏ-]{{1,63}}\.)+[A-Za-z]{{2}})")
_FREE = r"(?<![0-9A-Za-z*])(?<![0-9]-)"  # no part of a longer number or word, which checks nothing
_PLUS = re.compile(r"(?<![0-9A-Za-z*+])\+ ?[1-9](?:[ ()./-]{0,3}[0-9]){6,14}(?![0-9])")
_PHONES = (
    re.compile(_FREE + r"00[1-9](?:[ /-]?[0-9]){9,12}(?![0-9A-Za-z])"),
    # China's mobile numbers
    re.compile(_FREE + r"(?<!\.)(?:86[ -]?)?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}(?!\.?[0-9]|[A-Za-z])"),
)
_RUN = re.compile(r"(?<![0-9A-Za-z*])[0-9]++(?:[ -]{1,3}[0-9]++)*+")
_GROUP = re.compile(r"[0-9]++(?![A-Za-z])")
# What card numbers begin with (ISO/IEC 7812): no year of ours and no time in seconds or milliseconds does.
_ISSUER = re.compile(r"2[2-7]|[3-6]|8[1268]|9[278]")
_LETTERED = re.compile(r"[A-Z][0-9]{2}")
_IBAN = re.compile(r"(?<![0-9A-Za-z*])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![0-9A-Za-z])")


def mask(text: str) -> str:
    """The text with what identifies somebody masked. Never raises; masking twice is masking once."""
    while spans := _found(text if text.isascii() else text.translate(_PLAIN)):
        text = _masked(text, spans)
    return text


def _found(plain: str) -> list[Span]:
    """What is to be masked, in order and without overlaps. Most texts hold nothing and are through with two looks."""
    spans: list[Span] = []
    if "@" in plain:
        spans += [(match.start(), match.end(), 0) for match in _EMAIL.finditer(plain)]
    if "+" in plain:
        spans += [(match.start(), match.end(), NUMBER_KEEPS) for match in _PLUS.finditer(plain)]
    if len(plain) >= SHORTEST and _PERHAPS.search(plain) and _LONG.search(plain):
        spans += [(m.start(), m.end(), NUMBER_KEEPS) for pattern in _PHONES for m in pattern.finditer(plain)]
        spans += _cards(plain)
        spans += _ids(plain, _IDS)
    if _LETTERED.search(plain):
        spans += _ibans(plain)
        spans += _ids(plain, _LETTERED_IDS)
    if len(spans) < 2:
        return spans
    merged: list[Span] = []
    for start, end, kept in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), min(kept, merged[-1][2]))
        else:
            merged.append((start, end, kept))
    return merged


def _masked(text: str, spans: list[Span]) -> str:
    pieces, at = [], 0
    for start, end, kept in spans:
        shown = [character for character in text[start:end] if character.isalnum()]
        pieces += [text[at:start], STARS, *shown[len(shown) - kept :]]
        at = end
    return "".join((*pieces, text[at:]))


def _cards(plain: str) -> Iterator[Span]:
    for run in _RUN.finditer(plain):
        if run.end() - run.start() < LEAST_CARD:
            continue
        groups = [group.span() for group in _GROUP.finditer(plain, *run.span())]
        first = 0
        while first < len(groups):
            last = _card(plain, groups[first : first + CARD_GROUPS])
            if last:
                yield groups[first][0], groups[first + last - 1][1], CARD_KEEPS
            first += max(1, last)


def _card(plain: str, groups: list[tuple[int, int]]) -> int:
    """How many of the groups, from the first on, are a card's number; 0 when they are none."""
    start, end = groups[0]
    if end - start < 4 or not _ISSUER.match(plain, start):
        return 0
    for count in range(len(groups), 0, -1):
        digits = "".join(plain[first:last] for first, last in groups[:count])
        if LEAST_CARD <= len(digits) <= LONGEST_CARD and _luhn(digits):
            return count
    return 0


def _luhn(digits: str) -> bool:
    values = [int(digit) for digit in reversed(digits)]
    return sum(values[0::2] + [sum(divmod(2 * value, 10)) for value in values[1::2]]) % 10 == 0


def _ibans(plain: str) -> Iterator[Span]:
    for match in _IBAN.finditer(plain):
        end = match.end()
        while end - match.start() >= 15:  # Norway's, the shortest
            compact = re.sub("[ -]", "", plain[match.start() : end])
            if int("".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])) % 97 == 1:
                yield match.start(), end, NUMBER_KEEPS
                break
            end = max(plain.rfind(" ", match.start(), end), plain.rfind("-", match.start(), end))  # a word beside it


def _ids(plain: str, ids: Ids) -> Iterator[Span]:
    for pattern, sound in ids:
        for match in pattern.finditer(plain):
            if sound(match[0]):
                yield match.start(), match.end(), NUMBER_KEEPS


def _resident(text: str) -> bool:
    """China's resident id, GB 11643."""
    number = re.sub("[ -]", "", text).upper()
    total = sum(int(digit) * (2 ** (17 - index) % 11) for index, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17]


def _cpf(text: str) -> bool:
    """Brazil's."""
    digits = [int(digit) for digit in text if digit.isdigit()]

    def check(count: int) -> int:
        return sum(digit * (count + 1 - index) for index, digit in enumerate(digits[:count])) * 10 % 11 % 10

    return check(9) == digits[9] and check(10) == digits[10]


def _rrn(text: str) -> bool:
    """South Korea's, of those given before October 2020."""
    digits = [int(digit) for digit in text if digit.isdigit()]
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    return (11 - sum(map(int.__mul__, digits, weights)) % 11) % 10 == digits[12]


def _hkid(text: str) -> bool:
    """Hong Kong's, with its check digit in brackets."""
    number = re.sub("[()]", "", text)
    values = [36 if letter == " " else int(letter, 36) for letter in number.rjust(9)]
    return sum(value * (9 - index) for index, value in enumerate(values[:8])) % 11 == (-values[8]) % 11


def _nric(text: str) -> bool:
    """Singapore's, of citizens and foreigners."""
    total = sum(int(digit) * weight for digit, weight in zip(text[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    if text[0] in "ST":
        return "JZIHGFEDCBA"[(total + 4 * (text[0] == "T")) % 11] == text[8]
    return "XWUTRQPNMLK"[(total + 4 * (text[0] == "G")) % 11] == text[8]


_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_IDS: Ids = (
    (
        re.compile(rf"(?<![0-9*])[1-9][0-9]{{5}}[ -]?(?:18|19|20)[0-9]{{2}}{_DAY}[ -]?[0-9]{{3}}[0-9Xx](?![0-9])"),
        _resident,
    ),
    (re.compile(_FREE + r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}(?![0-9A-Za-z])"), _cpf),
    (re.compile(_FREE + rf"[0-9]{{2}}{_DAY}-[1-8][0-9]{{6}}(?![0-9A-Za-z])"), _rrn),
)
_LETTERED_IDS: Ids = (
    (re.compile(r"(?<![0-9A-Za-z*])[A-Z]{1,2}[0-9]{6}\([0-9A]\)"), _hkid),
    (re.compile(r"(?<![0-9A-Za-z*])[STFG][0-9]{7}[A-Z](?![0-9A-Za-z])"), _nric),
)
