"""Every platform through one face: a driver makes its simulator's users write, and tells what they see of the bot.

One class for each folder in adapters/; the contract tests, the journeys and the proof run over all of them.
"""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import aiohttp
from yarl import URL

from adapters.slack.simulator import Event, SlackSimulator
from adapters.telegram.simulator import TelegramSimulator
from adapters.web.client import View, WebClient
from adapters.wechat.simulator import WeChatPlatform, sign

RETRY_SECONDS = 0.1  # between two tries to reach a gateway that is not there
Post = Callable[[bytes], Awaitable[int]]


class Driver(Protocol):
    """A platform's users, by number."""

    kind: str

    async def __aenter__(self) -> Driver: ...

    async def __aexit__(self, *_: object) -> None: ...

    def settings(self) -> dict[str, str]:
        """Environment variables that turn the channel on and point it at the simulator."""

    def meet(self, address: str) -> None:
        """Where the gateway is now."""

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        """A user writes, and the platform delivers it that many times more; returns when it is on its way. A gateway
        that is not there is tried again until it is."""

    async def again(self, user: int) -> None:
        """The platform delivers that user's last message once more, if it is one that does so after an answer."""

    def seen(self, user: int) -> list[str]:
        """What the bot has said to a user and stands there now, oldest first."""

    def under_way(self) -> int:
        """Messages of users that the gateway has not taken yet."""

    async def forged(self) -> int:
        """The status of a delivery that somebody else made up."""

    async def post(self, body: bytes) -> int:
        """The status of a delivery with any body, properly signed."""


async def _status(url: str, body: bytes, headers: dict[str, str], **query: str) -> int:
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.post(url, data=io.BytesIO(body), headers=headers, params=query) as answer,
    ):
        return answer.status


def _taken(status: int) -> bool:
    """Whether a message is on disk; 503 is to be tried again, anything else is a fault of ours."""
    if status not in {202, 503}:
        raise RuntimeError(f"a message was answered with HTTP {status}")
    return status == 202


def _known(status: int) -> None:
    if status == 404:
        raise RuntimeError("a task that was acknowledged is not known")


class Telegram:
    """Private chats."""

    kind = "telegram"
    token, secret = "6000001:test-token", "test-secret"

    def __init__(self) -> None:
        self.simulator = TelegramSimulator(self.token, pace=0.02)
        self.url = ""
        self._last: dict[int, int] = {}

    async def __aenter__(self) -> Telegram:
        await self.simulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.simulator.stop()

    def settings(self) -> dict[str, str]:
        return {
            "TELEGRAM_BOT_TOKEN": self.token,
            "TELEGRAM_WEBHOOK_SECRET": self.secret,
            "FRONTDESK__CHANNELS__TELEGRAM__API_BASE_URL": self.simulator.base_url,
        }

    def meet(self, address: str) -> None:
        self.url = f"{address}/telegram"
        self.simulator.webhook.set(self.url, self.secret, frozenset(), 100)

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        self._last[user] = self.simulator.user_says(1000 + user, text)
        for _ in range(copies):
            await self.again(user)

    async def again(self, user: int) -> None:
        self.simulator.webhook.again(self._last[user])

    def seen(self, user: int) -> list[str]:
        return self.simulator.bot_texts(1000 + user)

    def under_way(self) -> int:
        return self.simulator.webhook.pending

    async def forged(self) -> int:
        return await _status(self.url, b'{"update_id": 1}', {"X-Telegram-Bot-Api-Secret-Token": "guessed"})

    async def post(self, body: bytes) -> int:
        headers = {"X-Telegram-Bot-Api-Secret-Token": self.secret, "Content-Type": "application/json"}
        return await _status(self.url, body, headers)


class Slack:
    """Direct messages."""

    kind = "slack"
    token, secret = "xoxb-test-token", "test-signing-secret"

    def __init__(self) -> None:
        self.simulator = SlackSimulator(signing_secret=self.secret, token=self.token, pace=0.001)
        self._last: dict[int, Event] = {}

    async def __aenter__(self) -> Slack:
        await self.simulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.simulator.stop()

    def settings(self) -> dict[str, str]:
        return {
            "SLACK_BOT_TOKEN": self.token,
            "SLACK_SIGNING_SECRET": self.secret,
            "FRONTDESK__CHANNELS__SLACK__API_BASE_URL": self.simulator.base_url,
        }

    def meet(self, address: str) -> None:
        self.simulator.events_url = f"{address}/slack/events"

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        said = await self.simulator.user_says(self._channel(user), text, user=f"U{user:010d}")
        self._last[user] = said.events[0]
        while not said.accepted:  # as with Slack's delayed events, which come again for a day
            await asyncio.sleep(RETRY_SECONDS)
            await self.again(user)
        for _ in range(copies):
            await self.again(user)

    async def again(self, user: int) -> None:
        await self.simulator.redeliver(self._last[user], 1)

    def seen(self, user: int) -> list[str]:
        return [message.text for message in self.simulator.workspace.replies(self._channel(user))]

    def under_way(self) -> int:
        return 0  # `say` waits

    async def forged(self) -> int:
        headers = {"X-Slack-Signature": "v0=" + "0" * 64}
        return (await self.simulator.post(b'{"type": "event_callback"}', headers=headers))[0]

    async def post(self, body: bytes) -> int:
        return await _status(self.simulator.events_url, body, self.simulator.sign(body))

    @staticmethod
    def _channel(user: int) -> str:
        return f"D{user:010d}"


class WeChat:
    """An unverified account in safe mode: answers go into the platform's own requests."""

    kind = "wechat"
    token, app_id, key = "test-token", "wx0123456789abcdef", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

    def __init__(self) -> None:
        self.simulator = WeChatPlatform(token=self.token, app_id=self.app_id, aes_key=self.key)
        self._waiting: set[asyncio.Task[str]] = set()

    async def __aenter__(self) -> WeChat:
        await self.simulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self.simulator.stop()

    def settings(self) -> dict[str, str]:
        return {
            "WECHAT_TOKEN": self.token,
            "WECHAT_AES_KEY": self.key,
            "FRONTDESK__CHANNELS__WECHAT__APP_ID": self.app_id,
            "FRONTDESK__CHANNELS__WECHAT__VERIFIED": "false",
            "FRONTDESK__CHANNELS__WECHAT__API_BASE_URL": self.simulator.base_url,
        }

    def meet(self, address: str) -> None:
        self.simulator.webhook = f"{address}/wechat"

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        await self._reachable()  # three tries of a connection that is refused are over in no time
        delivered = len(self.simulator.deliveries)
        task = asyncio.create_task(self.simulator.user_says(f"o{user:027d}", text, duplicates=copies))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        while len(self.simulator.deliveries) <= delivered:  # noqa: ASYNC110 - the next turns of the loop begin it
            await asyncio.sleep(0)

    async def _reachable(self) -> None:
        address = URL(self.simulator.webhook)
        while True:
            try:
                _, writer = await asyncio.open_connection(address.host, address.port)
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                writer.close()
                return

    async def again(self, user: int) -> None:
        return

    def seen(self, user: int) -> list[str]:
        return self.simulator.answers(f"o{user:027d}")

    def under_way(self) -> int:
        return len(self._waiting)

    async def forged(self) -> int:
        return await _status(self.simulator.webhook, b"<xml/>", {}, signature="0" * 40, timestamp="1", nonce="1")

    async def post(self, body: bytes) -> int:
        stamp, nonce, encrypted = "1790000000", "1", "not ours to decrypt"
        query = {"timestamp": stamp, "nonce": nonce, "encrypt_type": "aes", "signature": sign(self.token, stamp, nonce)}
        return await _status(
            self.simulator.webhook, body, {}, **query, msg_signature=sign(self.token, stamp, nonce, encrypted)
        )


class Web:
    """Visitors of the web chat, each with a page open."""

    kind = "web"

    def __init__(self) -> None:
        self.address = ""
        self._visitors: dict[int, tuple[WebClient, View, asyncio.Task[None]]] = {}
        self._last: dict[int, tuple[str, str]] = {}

    async def __aenter__(self) -> Web:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client, _view, following in self._visitors.values():
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await client.__aexit__(None, None, None)

    def settings(self) -> dict[str, str]:
        return {"FRONTDESK__CHANNELS__WEB__MESSAGES_PER_MINUTE_PER_IP": "100000"}

    def meet(self, address: str) -> None:
        self.address = address
        for client, _view, _task in self._visitors.values():
            client.url = f"{address}/chat"

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        if user not in self._visitors:
            await self._visit(user)
        self._last[user] = (text, str(uuid.uuid4()))
        for _ in range(1 + copies):
            await self.again(user)

    async def _visit(self, user: int) -> None:
        view, client = View(), await WebClient(self.address).__aenter__()
        while True:
            client.url = f"{self.address}/chat"  # a gateway that starts again may be elsewhere
            try:
                await client.open()
                break
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
        self._visitors[user] = client, view, asyncio.create_task(self._follow(client, view))

    async def again(self, user: int) -> None:
        text, message_id = self._last[user]
        while True:  # as the page does, under the same id
            try:
                status, _, _ = await self._visitors[user][0].post(text, message_id)
                if _taken(status):
                    return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(RETRY_SECONDS)

    @staticmethod
    async def _follow(client: WebClient, view: View) -> None:
        async for event in client.follow(pauses=(0.05, 0.2)):
            view.apply(event)

    def seen(self, user: int) -> list[str]:
        if user not in self._visitors:
            return []
        return [bubble.text for bubble in self._visitors[user][1].bubbles.values() if bubble.role == "bot"]

    def under_way(self) -> int:
        return 0  # `say` waits

    async def forged(self) -> int:
        headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        return await _status(f"{self.address}/chat/messages", b'{"id": "x", "text": "x"}', headers)

    async def post(self, body: bytes) -> int:
        return await _status(f"{self.address}/chat/messages", body, {"Content-Type": "application/json"})


class Api:
    """Programs that call /ask under a key of their own until they are answered, and then /result: half of them wait
    there, half follow the stream. `again` makes the last call once more."""

    kind = "api"
    key = "test-key"

    def __init__(self) -> None:
        self.address = ""
        self._last: dict[int, tuple[str, str]] = {}  # text, Idempotency-Key
        self._tasks: dict[str, set[str]] = {}  # the tasks that a key stands for: more than one is a fault
        self._answers: dict[int, list[tuple[str, str]]] = {}  # Idempotency-Key, text
        self._fetching: set[asyncio.Task[None]] = set()
        self._faults: list[BaseException] = []
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        self._http = aiohttp.ClientSession(headers=self._headers())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._fetching:
            task.cancel()
        await asyncio.gather(*self._fetching, return_exceptions=True)
        await self._open.close()

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the driver is not entered")
        return self._http

    def settings(self) -> dict[str, str]:
        return {"FRONTDESK_API_KEYS": self.key, "FRONTDESK__THROTTLE__REQUESTS_PER_MINUTE_PER_IP": "100000"}

    def meet(self, address: str) -> None:
        self.address = address

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        self._last[user] = text, str(uuid.uuid4())
        for _ in range(1 + copies):
            await self.again(user)

    async def again(self, user: int) -> None:
        text, name = self._last[user]
        body = {"text": text, "conversation": f"c{user}", "user": f"u{user}"}
        while True:
            try:
                headers = {"Idempotency-Key": name}
                async with self._open.post(f"{self.address}/ask", json=body, headers=headers) as answer:
                    if _taken(answer.status):
                        self._fetch(user, name, str((await answer.json())["task_id"]))
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass  # cut off before or after it was on disk: the same call finds out
            await asyncio.sleep(RETRY_SECONDS)

    def _fetch(self, user: int, name: str, task_id: str) -> None:
        known = self._tasks.setdefault(name, set())
        if task_id in known:
            return
        known.add(task_id)
        fetching = asyncio.create_task(self._until_answered(user, name, task_id))
        self._fetching.add(fetching)
        fetching.add_done_callback(self._fetched)

    def _fetched(self, fetching: asyncio.Task[None]) -> None:
        self._fetching.discard(fetching)
        if not fetching.cancelled() and (fault := fetching.exception()) is not None:
            self._faults.append(fault)

    async def _until_answered(self, user: int, name: str, task_id: str) -> None:
        look = self._follow if user % 2 else self._wait
        while True:
            try:
                result = await look(task_id)
            except (aiohttp.ClientError, TimeoutError):
                result = {}
            if "answer" in result:
                self._answers.setdefault(user, []).append((name, str(result["answer"])))
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _wait(self, task_id: str) -> Mapping[str, object]:
        async with self._open.get(f"{self.address}/result/{task_id}", params={"wait": "20"}) as answer:
            _known(answer.status)
            result: Mapping[str, object] = await answer.json()
            return result

    async def _follow(self, task_id: str) -> Mapping[str, object]:
        """The last event's data; nothing when the stream broke off before."""
        headers, name = {"Accept": "text/event-stream"}, ""
        async with self._open.get(f"{self.address}/result/{task_id}", headers=headers) as answer:
            _known(answer.status)
            async for line in answer.content:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                name = value if field == "event" else name
                if field == "data" and name == "result":
                    result: Mapping[str, object] = json.loads(value)
                    return result
        return {}

    def seen(self, user: int) -> list[str]:
        """Questions answered together share an answer, which counts once; two tasks for one question count twice."""
        counts: dict[str, Counter[str]] = {}
        for name, text in self._answers.get(user, ()):
            counts.setdefault(text, Counter())[name] += 1
        return [text for text, names in counts.items() for _ in range(max(names.values()))]

    def under_way(self) -> int:
        """Tasks not answered yet. Raises RuntimeError for one that was acknowledged and is not known."""
        for fault in self._faults:
            raise fault
        return len(self._fetching)

    async def forged(self) -> int:
        return await _status(f"{self.address}/ask", b'{"text": "x"}', {"Authorization": "Bearer guessed"})

    async def post(self, body: bytes) -> int:
        return await _status(f"{self.address}/ask", body, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


DRIVERS: dict[str, Callable[[], Driver]] = {
    "telegram": Telegram,
    "slack": Slack,
    "wechat": WeChat,
    "web": Web,
    "api": Api,
}
