"""Programs that use the API."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Mapping

import aiohttp

from bench.drivers.driver import RETRY_SECONDS, status, taken


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
                    if taken(answer.status):
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
        return await status(f"{self.address}/ask", b'{"text": "x"}', {"Authorization": "Bearer guessed"})

    async def post(self, body: bytes) -> int:
        return await status(f"{self.address}/ask", body, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def _known(status: int) -> None:
    if status == 404:
        raise RuntimeError("a task that was acknowledged is not known")
