"""The chat's requests: who may post, what is taken, what the page is served with."""

from __future__ import annotations

import asyncio
import re
import uuid
from dataclasses import replace
from html import unescape

import aiohttp
import pytest
from pydantic import ValidationError

from adapters.web import channel as web_channel
from adapters.web.client import WebClient
from adapters.web.settings import Settings
from core.channel import Channel
from core.errors import ConfigError
from tests.adapters.web_house import BOT, CHINESE, ENGLISH, House, Site, served, visitor, watching


def _numbered(_: object) -> str:
    return "case"  # what is drawn anew each time is no name


def new_id() -> str:
    return str(uuid.uuid4())


async def raw_post(site: Site, client: WebClient, data: bytes, **headers: str) -> tuple[int, str, dict[str, str]]:
    """A post with our own headers; returns the status, the error's code and the headers."""
    carried = {"Content-Type": "application/json", **client.headers(), **headers}
    async with client.http.post(f"{site.url}/chat/messages", data=data, headers=carried) as answer:
        content = await answer.json()
        return answer.status, content.get("error", {}).get("code", ""), dict(answer.headers)


def message(text: str = "hello") -> bytes:
    return b'{"id": "%s", "text": "%s"}' % (new_id().encode(), text.encode())


async def test_a_message_is_on_disk_before_it_is_acknowledged() -> None:
    async with served(House()) as site, visitor(site) as client:
        client_id = new_id()
        status, entry, _ = await client.post("Where is\nmy order?", client_id)
        assert status == 202
        assert (entry["id"], entry["client_id"], entry["pending"]) == ("m1", client_id, True)
        [kept] = site.house.received
        assert (kept.text, kept.language, kept.user_id) == ("Where is\nmy order?", "en", kept.conversation.chat_id)
        assert (kept.conversation.channel, kept.conversation.bot) == ("web", "support")
        assert client.cookie.partition("=")[2] not in repr(kept)


async def test_the_same_id_is_the_same_row_and_the_first_text_counts() -> None:
    async with served(House()) as site, visitor(site) as client:
        client_id = new_id()
        await client.post("first", client_id)
        status, entry, _ = await client.post("second", client_id)
        assert (status, entry["id"], entry["text"]) == (202, "m1", "first")
        assert len(site.house.received) == 1


async def test_two_visitors_with_one_id_are_two_messages() -> None:
    async with served(House()) as site, visitor(site) as one, visitor(site) as other:
        client_id = new_id()
        await one.post("mine", client_id)
        status, entry, _ = await other.post("yours", client_id)
        assert (status, entry["id"], entry["text"]) == (202, "m2", "yours")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_other_sites_cannot_post(headers: dict[str, str]) -> None:
    async with served(House()) as site, visitor(site) as client:
        status, code, _ = await raw_post(site, client, message(), **headers)
        assert (status, code) == (403, "cross_site")
        assert site.house.received == []


async def test_our_own_page_can_post() -> None:
    async with served(House(), public_url="https://chat.example.com") as site, visitor(site) as client:
        for headers in (
            {"Origin": site.url},
            {"Origin": "https://chat.example.com"},
            {"Sec-Fetch-Site": "same-origin"},
        ):
            assert (await raw_post(site, client, message(), **headers))[0] == 202


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'{"id": 5, "text": "a"}', 400, "invalid_id"),
        (b'{"id": "x", "text": "a"}', 400, "invalid_id"),
        (message(" "), 400, "invalid_text"),
        (message("a" * 4_001), 413, "text_too_long"),
        (message("a" * 70_000), 413, "text_too_long"),
    ],
    ids=_numbered,
)
async def test_wrong_messages_are_refused_with_a_reason(data: bytes, status: int, code: str) -> None:
    async with served(House()) as site, visitor(site) as client:
        assert (await raw_post(site, client, data))[:2] == (status, code)
        assert site.house.received == []


async def test_a_form_cannot_post() -> None:
    async with served(House()) as site, visitor(site) as client:
        status, code, _ = await raw_post(site, client, message(), **{"Content-Type": "text/plain"})
        assert (status, code) == (415, "not_json")


async def test_without_a_visitor_nothing_is_taken_or_told() -> None:
    async with served(House()) as site, WebClient(site.url) as client:
        for cookie in ("", "frontdesk_web=short", "frontdesk_web=" + "é" * 43, "other=" + "a" * 43):
            client.cookie = cookie
            assert (await raw_post(site, client, message()))[:2] == (401, "no_visitor")
            async with client.http.get(f"{site.url}/chat/events", headers=client.headers()) as answer:
                assert answer.status == 401
        assert site.house.received == []


async def test_fresh_cookies_do_not_evade_the_limit_per_address() -> None:
    async with served(House(), Settings(messages_per_minute_per_ip=3)) as site:
        for _ in range(3):
            async with visitor(site) as client:
                assert (await client.post("hello", new_id()))[0] == 202
        async with visitor(site) as client:
            status, body, wait = await client.post("hello", new_id())
            assert (status, wait) == (429, 20)
            assert isinstance(body["error"], dict)
            site.house.ip = "203.0.113.9"
            assert (await client.post("hello", new_id()))[0] == 202
            site.house.ip = ""
            site.now += 20
            assert (await client.post("hello", new_id()))[0] == 202


async def test_what_is_not_on_disk_is_not_acknowledged() -> None:
    async with served(House()) as site, visitor(site) as client:
        site.house.broken = True
        status, _, wait = await client.post("hello", new_id())
        assert status == 503
        assert wait > 0


async def page(site: Site, *, cookie: str = "", language: str = "") -> tuple[str, aiohttp.ClientResponse]:
    headers = {"Accept-Language": language} | ({"Cookie": cookie} if cookie else {})
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        http.get(f"{site.url}{site.channel.base}", headers=headers) as answer,
    ):
        assert answer.status == 200
        return await answer.text(), answer


async def test_the_cookie_is_unguessable_and_protected() -> None:
    async with served(House()) as site:
        _, first = await page(site)
        _, second = await page(site)
        cookies = [answer.cookies["frontdesk_web"] for answer in (first, second)]
        assert cookies[0].value != cookies[1].value
        assert len(cookies[0].value) == 43  # 32 random bytes
        assert cookies[0]["httponly"]
        assert cookies[0]["samesite"] == "Lax"
        assert cookies[0]["path"] == "/"
        assert int(cookies[0]["max-age"]) > 300 * 86_400
        assert not cookies[0]["secure"]
        _, again = await page(site, cookie=f"frontdesk_web={cookies[0].value}")
        assert again.cookies["frontdesk_web"].value == cookies[0].value
        _, planted = await page(site, cookie="frontdesk_web=chosen-by-somebody")
        assert len(planted.cookies["frontdesk_web"].value) == 43


async def test_over_https_the_cookie_stays_on_https() -> None:
    async with served(House(), public_url="https://chat.example.com") as site:
        _, answer = await page(site)
        cookie = answer.cookies["__Host-frontdesk_web"]
        assert cookie["secure"]
        assert not cookie["domain"]
        async with visitor(site) as client:
            assert (await client.post("hello", new_id()))[0] == 202


async def test_the_page_lets_nothing_else_in() -> None:
    async with served(House(), Settings(frame_ancestors="'self' https://shop.example.com")) as site:
        html, answer = await page(site)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
        assert policy["frame-ancestors"] == "'self' https://shop.example.com"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "://" not in html
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", html)
        addresses = set(re.findall(r'(?:src|href)="([^"]+)"', html))
        assert len(addresses) == 3
        async with aiohttp.ClientSession() as http:
            for address in addresses:
                async with http.get(site.url + address) as asset:
                    assert asset.status == 200
                    assert "immutable" in asset.headers["Cache-Control"]
                    assert asset.headers["X-Content-Type-Options"] == "nosniff"
            for wrong in ("/chat/static/x/channel.py", "/chat/static/x/..%2Fchannel.py", "/chat/static/x/chat.html"):
                async with http.get(site.url + wrong) as asset:
                    assert asset.status == 404


@pytest.mark.parametrize(
    ("accepted", "language", "words"),
    [
        ("", "en", ENGLISH),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh", CHINESE),
        ("fr, zh;q=0.1", "zh", CHINESE),
        ("ja", "en", ENGLISH),
    ],
)
async def test_the_browsers_language_chooses_the_words(accepted: str, language: str, words: dict[str, str]) -> None:
    async with served(House()) as site:
        html, _ = await page(site, language=accepted)
        assert f'<html lang="{language}">' in html
        for name in ("chat_title", "chat_placeholder", "chat_send", "chat_greeting", "chat_offline", "chat_retry"):
            assert words[name] in unescape(html)
        assert "{{" not in html
        assert "{limit}" not in html


async def test_words_are_escaped() -> None:
    words = {**ENGLISH, "chat_title": '"><script>alert(1)</script>{{send}}'}
    async with served(House(replace(BOT, phrases={"en": words}))) as site:
        html, _ = await page(site)
        assert "<script>alert" not in html
        assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;{{send}}") >= 3


async def test_another_section_has_its_own_page_and_conversation() -> None:
    async with served(House(), name="web_shop") as site, visitor(site) as client:
        assert client.url.endswith("/chat/web_shop")
        assert client.cookie.startswith("frontdesk_web_shop=")
        assert (await client.post("hello", new_id()))[0] == 202
        assert site.house.received[0].conversation.channel == "web_shop"
        async with watching(client) as watcher:
            assert watcher.texts() == ["hello"]


async def test_settings_cannot_break_the_policy() -> None:
    for value in ("'self'; script-src *", "a\r\nX-Header: b", "", " "):
        with pytest.raises(ValidationError):
            Settings(frame_ancestors=value)
    with pytest.raises(ConfigError, match="static"):
        web_channel.build("static", Settings(), public_url="")


async def test_it_is_a_channel() -> None:
    channel: Channel = web_channel.build("web", Settings(), public_url="http://chat.example.com")
    assert channel.traits.preview_seconds == 0.08
    assert Settings().missing() == []
    [finding] = await channel.check()
    assert not finding.ok
    assert "https" in finding.remedy
    [finding] = await web_channel.build("web", Settings(), public_url="https://chat.example.com").check()
    assert finding.ok
    await channel.start()
    await channel.close()


async def test_closing_ends_the_streams_and_refuses_new_ones() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as watcher:
        await site.channel.close()
        async with asyncio.timeout(10):
            with pytest.raises(StopAsyncIteration):
                await watcher.next()
        async with client.http.get(f"{site.url}/chat/events", headers=client.headers()) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
