"""Proof that a push is WeChat's, and the cipher of safe mode: compared in constant time, and no input makes it raise.

signature = sha1 of the sorted token, timestamp, nonce; msg_signature also covers the ciphertext. AES-256-CBC, key =
base64(EncodingAESKey + "="), IV = its first 16 bytes, PKCS#7 to 32, plaintext = 16 random bytes + length (4 bytes, big
endian) + message + appid (developers.weixin.qq.com/doc/oplatform/developers/dev/push/encryption).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable

from wechatpy.crypto.base import WeChatCipher

_BLOCK = 32
_HEAD = 20  # 16 random bytes and the length


def _sixteen_bytes() -> bytes:
    return secrets.token_bytes(16)


def key_of(aes_key: str) -> bytes:
    """The 32 bytes behind an EncodingAESKey of 43 characters. Raises ValueError."""
    key = base64.b64decode(aes_key + "=", validate=True)
    if len(aes_key) != 43 or len(key) != 32:
        raise ValueError("an EncodingAESKey has 43 letters and digits")
    return key


class Seal:
    """Token, key and account together."""

    def __init__(
        self, token: str, *, app_id: str, aes_key: str = "", random16: Callable[[], bytes] = _sixteen_bytes
    ) -> None:
        if not token:
            raise ValueError("an empty token would accept anybody's signature")
        self._token = token
        self._app_id = app_id.encode()
        self._key = key_of(aes_key) if aes_key else b""
        self._random16 = random16

    @property
    def encrypts(self) -> bool:
        """Whether there is a key, so that safe mode is spoken."""
        return bool(self._key)

    def sign(self, *values: str) -> str:
        """The signature over the token and these values."""
        joined = "".join(sorted((self._token, *values)))
        return hashlib.sha1(joined.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()

    def signed(self, signature: str, *values: str) -> bool:
        """Whether the signature is right; takes equally long for every wrong one."""
        return hmac.compare_digest(self.sign(*values).encode(), signature.encode("utf-8", "surrogatepass"))

    def decrypt(self, encrypted: str) -> bytes | None:
        """The message inside; None when it is not ours or broken in any way. Check the signature first."""
        if not self._key:
            return None
        try:
            plain: bytes = WeChatCipher(self._key).decrypt(base64.b64decode(encrypted, validate=True))
        except ValueError:  # not base64, or not whole blocks
            return None
        padding = plain[-1] if plain else 0
        if not 1 <= padding <= _BLOCK or plain[-padding:] != bytes([padding]) * padding:
            return None
        content = plain[:-padding]
        if len(content) < _HEAD:
            return None
        end = _HEAD + int(struct.unpack(">I", content[16:_HEAD])[0])
        return content[_HEAD:end] if content[end:] == self._app_id else None

    def encrypt(self, message: str) -> str:
        """The ciphertext of a message, in base64. Raises ValueError without a key."""
        if not self._key:
            raise ValueError("there is no aes_key to encrypt with")
        text = message.encode("utf-8")
        plain = self._random16() + struct.pack(">I", len(text)) + text + self._app_id
        padding = _BLOCK - len(plain) % _BLOCK
        return base64.b64encode(WeChatCipher(self._key).encrypt(plain + bytes([padding]) * padding)).decode()
