"""Signature and cipher against wechatpy's own, both ways, and against everything that is broken."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wechatpy.crypto import PrpCrypto, WeChatCrypto
from wechatpy.crypto.base import WeChatCipher
from wechatpy.utils import check_signature

from adapters.wechat.convert import render
from adapters.wechat.crypto import Seal, key_of
from tests.adapters.wechat_house import APP_ID, KEY, TOKEN

SEAL = Seal(TOKEN, app_id=APP_ID, aes_key=KEY)
THEIRS = PrpCrypto(key_of(KEY))


def _numbered(_: object) -> str:
    return "case"  # what is drawn anew each time is no name


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_what_one_encrypts_the_other_reads(text: str) -> None:
    assert THEIRS.decrypt(SEAL.encrypt(text), APP_ID) == text
    assert SEAL.decrypt(THEIRS.encrypt(text, APP_ID).decode()) == text.encode()


def test_the_ciphertext_is_the_documented_one() -> None:
    fixed = Seal(TOKEN, app_id=APP_ID, aes_key=KEY, random16=lambda: b"0123456789abcdef")
    plain = b"0123456789abcdef" + b"\x00\x00\x00\x02" + b"hi" + APP_ID.encode()
    padding = 32 - len(plain) % 32
    expected = WeChatCipher(key_of(KEY)).encrypt(plain + bytes([padding]) * padding)
    assert fixed.encrypt("hi") == base64.b64encode(expected).decode()


def test_the_signatures_agree() -> None:
    check_signature(TOKEN, SEAL.sign("1790000000", "42"), "1790000000", "42")
    encrypted = SEAL.encrypt("<xml/>")
    envelope = render({"Encrypt": encrypted})
    theirs = WeChatCrypto(TOKEN, KEY, APP_ID)
    assert theirs.decrypt_message(envelope, SEAL.sign("1", "2", encrypted), "1", "2") == "<xml/>"


@pytest.mark.parametrize("given_signature", ["", "0" * 40, "é", "\ud800", "a" * 10_000])
def test_another_signature_is_none(given_signature: str) -> None:
    assert SEAL.signed(SEAL.sign("1", "2"), "1", "2")
    assert not SEAL.signed(given_signature, "1", "2")
    assert not SEAL.signed(SEAL.sign("1", "2"), "1", "3")


def _sealed(plain: bytes) -> str:
    return base64.b64encode(WeChatCipher(key_of(KEY)).encrypt(plain)).decode()


@pytest.mark.parametrize(
    "encrypted",
    [
        "",
        "=",
        "é",
        "not base64!",
        "AAAA",
        base64.b64encode(bytes(32)).decode(),
        _sealed(bytes([0]) * 32),
        _sealed(bytes([33]) * 64),
        _sealed(bytes([32]) * 32),
        _sealed(b"x" * 31 + b"\x02"),
        _sealed(b"0123456789abcdef" + b"\xff\xff\xff\xff" + b"\x0c" * 12),
        PrpCrypto(key_of(KEY)).encrypt("hi", "wx-another-account").decode(),
        PrpCrypto(key_of(KEY[::-1])).encrypt("hi", APP_ID).decode(),
    ],
    ids=_numbered,
)
def test_what_is_broken_or_not_ours_is_nothing(encrypted: str) -> None:
    assert SEAL.decrypt(encrypted) is None


@given(st.text(max_size=100) | st.binary(max_size=128).map(lambda raw: base64.b64encode(raw).decode()))
def test_any_ciphertext_is_taken_without_raising(encrypted: str) -> None:
    assert SEAL.decrypt(encrypted) is None


def test_without_a_key_nothing_is_read_or_written() -> None:
    plain = Seal(TOKEN, app_id=APP_ID)
    assert not plain.encrypts
    assert plain.decrypt(SEAL.encrypt("hi")) is None
    with pytest.raises(ValueError, match="aes_key"):
        plain.encrypt("hi")


def test_an_empty_token_and_a_wrong_key_are_refused() -> None:
    with pytest.raises(ValueError, match="token"):
        Seal("", app_id=APP_ID)
    for key in ("short", KEY + "a", KEY[:-1] + "!"):
        with pytest.raises(ValueError, match=r".+"):
            Seal(TOKEN, app_id=APP_ID, aes_key=key)
