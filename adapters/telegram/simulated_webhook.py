"""Telegram's outgoing side for tests: posts updates as tdlib/telegram-bot-api's WebhookActor does.

One update per chat at a time; 2xx is accepted; otherwise again at once, then after 2, 4, 8 ... seconds; dropped when
older than its lifetime. `pace` shortens the pauses (0 = none); what counts towards the lifetime stays unshortened.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
import orjson

Update = Mapping[str, object]

LIFETIME_SECONDS = 86_400.0  # after the message's date
_CALLBACK_LIFETIME_SECONDS = 150.0
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0  # the real one draws between 60 and 120
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_REMEMBERED = 10_000


class SimulatorFull(Exception):
    """More updates wait than the simulator keeps: the test or benchmark is not being answered."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST: the bot's status, 0 when the connection failed."""

    update_id: int
    status: int


class SimulatedWebhook:
    """`changed` is called after every attempt, `answered` with method and parameters of the call that stands in an
    answer; `now` in seconds since the epoch."""

    def __init__(
        self,
        changed: Callable[[], None],
        answered: Callable[[str, dict[str, object]], None],
        *,
        pace: float,
        now: Callable[[], float],
        lifetime: float = LIFETIME_SECONDS,
        waiting: int = 200_000,
    ) -> None:
        self.url = ""
        self.secret = ""
        self.allowed: frozenset[str] = frozenset()
        self.connections = 40
        self.attempts: deque[Attempt] = deque(maxlen=_REMEMBERED)
        self.accepted = 0
        self.dropped = 0
        self.pending = 0
        self.last_error = ""
        self.last_error_at = 0.0  # seconds since the epoch
        self.pauses: deque[float] = deque(maxlen=_REMEMBERED)  # between tries, before `pace`
        self._changed = changed
        self._answered = answered
        self._now = now
        self._pace = pace
        self._lifetime = lifetime
        self._waiting = waiting
        self._queues: dict[int, deque[Update]] = {}
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._queued: OrderedDict[int, tuple[int, Update]] = OrderedDict()
        self._http: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(40)

    def set(self, url: str, secret: str, allowed: frozenset[str], connections: int) -> None:
        """What setWebhook does; an empty url takes the webhook away. Waiting updates then go out."""
        if (url, secret) != (self.url, self.secret):
            self.last_error = ""
        self.url, self.secret, self.allowed = url, secret, allowed
        if connections != self.connections:
            self.connections, self._places = connections, asyncio.Semaphore(connections)
        for chat_id in list(self._queues):
            self._work(chat_id)

    def put(self, chat_id: int, update_id: int, update: Update) -> None:
        """Queue an update of that chat. Raises SimulatorFull."""
        if self.pending >= self._waiting:
            raise SimulatorFull
        self._queued[update_id] = (chat_id, update)
        if len(self._queued) > _REMEMBERED:
            self._queued.popitem(last=False)
        self._queues.setdefault(chat_id, deque()).append(update)
        self.pending += 1
        self._work(chat_id)

    def again(self, update_id: int) -> None:
        """Deliver an update once more, as when the first 200 was lost on its way. Raises KeyError if it is too old."""
        chat_id, update = self._queued[update_id]
        self.put(chat_id, update_id, update)

    def sent(self, update_id: int) -> Update:
        """An update that was queued. Raises KeyError if it is too old."""
        return self._queued[update_id][1]

    async def close(self) -> None:
        """Stop all posting."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def _work(self, chat_id: int) -> None:
        if self.url and chat_id not in self._workers:
            self._workers[chat_id] = asyncio.create_task(self._send_chat(chat_id))

    async def _send_chat(self, chat_id: int) -> None:
        queue = self._queues[chat_id]
        try:
            while queue and self.url:
                await self._send(queue[0])
                queue.popleft()
                self.pending -= 1
                self._changed()
        finally:
            del self._workers[chat_id]
            if not queue:
                del self._queues[chat_id]

    async def _send(self, update: Update) -> None:
        body = orjson.dumps(update)
        update_id = update.get("update_id")
        lifetime = _CALLBACK_LIFETIME_SECONDS if "callback_query" in update else self._lifetime
        age, pause = 0.0, 0.0
        while True:
            status, asked = await self._post(body)
            self.attempts.append(Attempt(update_id if isinstance(update_id, int) else 0, status))
            if 200 <= status < 300:
                self.accepted += 1
                return
            self.last_error = f"Wrong response from the webhook: {status}" if status else "Connection refused"
            self.last_error_at = self._now()
            self._changed()
            wait = pause if asked is None else asked
            self.pauses.append(wait)
            pause = min(max(2 * pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            age += wait
            if age > lifetime:
                self.dropped += 1
                return
            await asyncio.sleep(wait * self._pace)

    async def _post(self, body: bytes) -> tuple[int, float | None]:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=100),
                headers={"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"},
                timeout=aiohttp.ClientTimeout(total=60),
            )
        headers = {"X-Telegram-Bot-Api-Secret-Token": self.secret} if self.secret else {}
        async with self._places:
            try:
                async with self._http.post(self.url, data=body, headers=headers) as response:
                    self._called(await response.read(), response.status)
                    after = response.headers.get("Retry-After", "")
                    asked = min(float(after), _LONGEST_RETRY_AFTER_SECONDS) if after.isdecimal() else None
                    return response.status, asked
            except (aiohttp.ClientError, TimeoutError):
                return 0, None

    def _called(self, body: bytes, status: int) -> None:
        """core.telegram.org/bots/api#making-requests-when-getting-updates: one call may stand in the answer."""
        if not body or not 200 <= status < 300:
            return
        try:
            asked = orjson.loads(body)
        except orjson.JSONDecodeError:
            return
        if isinstance(asked, dict) and isinstance(asked.get("method"), str):
            self._answered(asked.pop("method"), asked)
