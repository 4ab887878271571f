"""Guesses a message's language from its script, with what the platform says as the second word; never raises.

A rule for scripts is right for the languages that own one (Chinese, Japanese, Korean, ...); Latin text needs the hint.
"""

from __future__ import annotations

import re

SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff\u3400-\u4dbf]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
LATIN = re.compile(r"[A-Za-zÀ-ɏ]{2,}")


def primary(tag: str) -> str:
    """The primary subtag of a BCP 47 tag: "zh-Hans-CN" -> "zh"."""
    return re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0]


def detect(text: str, hint: str = "") -> str:
    """The primary language tag; "" when neither text nor hint tells."""
    hinted = primary(hint)
    for language, script in SCRIPTS:
        if script.search(text):
            # Han characters are Japanese too, Cyrillic is more than Russian: there the hint decides.
            return hinted if language == "zh" and hinted == "ja" else language
    if LATIN.search(text) and hinted in {language for language, _ in SCRIPTS}:
        return "en"
    return hinted
