"""How the simulated WeChat writes its pushes and reads the replies to them, as strictly as the real one, in each mode.

Plain, compatible (the fields and the ciphertext side by side) and safe mode, in XML or JSON as the console's settings
say (developers.weixin.qq.com, dev/push). Its reading and its cipher are wechatpy's, not ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from xml.parsers.expat import ExpatError

import xmltodict
from wechatpy.crypto import PrpCrypto, WeChatCrypto
from wechatpy.exceptions import WeChatException

TEXT_LIMIT = 2048  # bytes

Mode = Literal["plain", "compatible", "safe"]
Form = Literal["xml", "json"]


class MalformedReply(Exception):
    """A reply WeChat would not show."""


@dataclass(frozen=True, slots=True)
class Push:
    """One message or event of a user; every delivery of it has the same id."""

    openid: str
    id: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a reply means: a text, or the user given to the console's people."""

    text: str = ""
    transferred: bool = False


class Wire:
    """The console's settings of one account: token, mode, key and form."""

    def __init__(self, *, token: str, app_id: str, account: str, aes_key: str, mode: Mode, form: Form) -> None:
        self._token = token
        self._app_id = app_id
        self._account = account
        self._mode = mode
        self._form = form
        self._crypto: WeChatCrypto | None = None
        if mode != "plain":
            self.use_key(aes_key)

    def use_key(self, aes_key: str) -> None:
        """Encrypt under this EncodingAESKey from now on."""
        self._crypto = WeChatCrypto(self._token, aes_key, self._app_id)

    def write(self, push: Push, *, timestamp: str, nonce: str) -> tuple[dict[str, str], bytes]:
        """The query and the body of one delivery."""
        query = {"timestamp": timestamp, "nonce": nonce, "openid": push.openid}
        query["signature"] = sign(self._token, timestamp, nonce)
        fields = {"ToUserName": self._account, "FromUserName": push.openid, **push.fields}
        if self._crypto is None:
            return query, self._body(fields)
        encrypted = PrpCrypto(self._crypto.key).encrypt(self._body(fields).decode(), self._app_id).decode()
        query |= {"encrypt_type": "aes", "msg_signature": sign(self._token, timestamp, nonce, encrypted)}
        outside = fields if self._mode == "compatible" else {"ToUserName": self._account}
        return query, self._body({**outside, "Encrypt": encrypted})

    def read(self, raw: bytes, openid: str) -> Shown:
        """What a passive reply says. Raises MalformedReply for everything WeChat would not show."""
        fields = self._elements(raw)
        if self._crypto is not None and ("Encrypt" in fields or self._mode == "safe"):
            if "Encrypt" not in fields:
                raise MalformedReply("not encrypted")
            try:
                signed = [fields[name] for name in ("MsgSignature", "TimeStamp", "Nonce")]
                fields = self._elements(self._crypto.decrypt_message(dict(fields), *signed).encode())
            except (WeChatException, KeyError, ValueError, TypeError) as error:
                raise MalformedReply(f"cannot be decrypted ({type(error).__name__})") from error
        if (fields.get("ToUserName"), fields.get("FromUserName")) != (openid, self._account):
            raise MalformedReply("to and from are not swapped")
        if fields.get("MsgType") == "transfer_customer_service" and len(fields) == 4:
            return Shown(transferred=True)
        if set(fields) != {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"}:
            raise MalformedReply(f"elements {sorted(fields)}")
        if fields["MsgType"] != "text" or not fields["CreateTime"].isdigit():
            raise MalformedReply("not a text of some time")
        if not 0 < len(fields["Content"].encode()) <= TEXT_LIMIT:
            raise MalformedReply(f"{len(fields['Content'].encode())} bytes")
        return Shown(fields["Content"])

    def _body(self, fields: Mapping[str, str]) -> bytes:
        if self._form == "xml":
            xml: str = xmltodict.unparse({"xml": fields}, full_document=False)
            return xml.encode()
        numbers = {name: int(fields[name]) for name in ("CreateTime", "MsgId") if name in fields}
        return json.dumps({**fields, **numbers}, ensure_ascii=False).encode()

    def _elements(self, raw: bytes) -> dict[str, str]:
        try:
            root = xmltodict.parse(raw, strip_whitespace=False) if self._form == "xml" else {"xml": json.loads(raw)}
        except (ExpatError, ValueError) as error:
            raise MalformedReply(f"not {self._form}") from error
        fields = root.get("xml")
        if not isinstance(fields, dict) or not all(isinstance(value, str | int) for value in fields.values()):
            raise MalformedReply("not flat")
        return {name: str(value) for name, value in fields.items()}


def sign(*values: str) -> str:
    """WeChat's signature over the token and these values."""
    return hashlib.sha1("".join(sorted(values)).encode(), usedforsecurity=False).hexdigest()
