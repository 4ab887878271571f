"""The engines' own numbers beside ours: asked when ours are, shown under their own names, and never a reason to fail.

Of a page, only samples of namespaced metrics (`vllm:...`) are passed on, checked part by part, so that no engine can
break what Prometheus reads here. A few of them are read for people who have no Prometheus (`Load`).
Format: prometheus.io/docs/instrumenting/exposition_formats; vLLM serves it beside its API at /metrics, without a key.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import structlog
from pydantic import SecretStr
from yarl import URL

from core.engine import Engine, EngineState

ANSWER_SECONDS = 1.0  # for a whole page: whoever asks for our numbers waits for it
FRESH_SECONDS = 5.0  # several who ask share one answer
PAGE_LIMIT = 200_000  # bytes, of one page as of all that is passed on

_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*:[a-zA-Z0-9_:]+"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|NaN|[-+]?Inf"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL},)*(?:{_LABEL})?)\}})? +({_NUMBER})(?: +-?[0-9]+)?")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped)")
_ENGINE = re.compile(r'(^|,)engine="')
_SUFFIXES = ("_bucket", "_sum", "_count", "")
_NO_NUMBERS = ("_info", "_created")  # end the names of metrics that are texts in labels, and of dates of birth
# As vLLM 0.32 calls them, and before that (some versions tell both); a share is 0 to 1.
_RUNNING = ("vllm:num_requests_running",)
_WAITING = ("vllm:num_requests_waiting",)
_CACHE_USED = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_CACHE_ASKED = ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")
_CACHE_FOUND = ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
_READ = frozenset(_RUNNING + _WAITING + _CACHE_USED + _CACHE_ASKED + _CACHE_FOUND)
_MOST = 1e15  # of anything that is counted; more is a mistake


@dataclass(frozen=True, slots=True)
class Source:
    """Where one engine tells its numbers."""

    name: str  # as the label `engine` shows it
    url: str
    uds: Path | None = None
    key: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How busy one engine is, by its own numbers; None where it tells none."""

    running: int | None = None  # replies being written
    waiting: int | None = None  # in its own line
    cache_used: float | None = None  # share of the KV cache, 0 to 1
    cache_found: float | None = None  # of the prompts' tokens since it started, the share that its cache had; 0 to 1


@dataclass(frozen=True, slots=True)
class Standing:
    """One engine as it is now."""

    name: str
    state: EngineState
    load: Load


@dataclass(slots=True)
class Family:
    """The samples of one metric, from all engines; the format wants them together."""

    kind: str
    samples: list[str] = field(default_factory=list)


def source_of(name: str, base_url: str, key: SecretStr | None = None) -> Source:
    """Of a server whose API is at `base_url`."""
    return Source(name, str(URL(base_url).origin() / "metrics"), key=key)


def gather(pages: Mapping[str, bytes]) -> bytes:
    """One text of the engines' pages, by their names; with several, each sample says whose it is."""
    families: dict[str, Family] = {}
    for name, page in pages.items():
        _read(page, _label(name) if len(pages) > 1 else "", families)
    parts, size = [], 0
    for name, family in families.items():
        part = "\n".join((f"# TYPE {name} {family.kind}", *family.samples, "")).encode()
        if family.samples and size + len(part) <= PAGE_LIMIT:  # a metric is told whole, or not at all
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def load_of(page: bytes) -> Load:
    """What vLLM's page says of its load; replicas inside one server are taken together."""
    found: dict[str, list[float]] = {}
    for line in page.decode("utf-8", "replace").splitlines():
        # By the name first: a page has hundreds of lines, and these are five.
        if line.partition("{")[0].partition(" ")[0] in _READ and (sample := _SAMPLE.fullmatch(line)):
            value = float(sample[3])
            if 0 <= value <= _MOST:  # which NaN is not, either
                found.setdefault(sample[1], []).append(value)

    def told(names: tuple[str, ...]) -> list[float]:
        return next((found[name] for name in names if name in found), [])

    running, waiting, asked, hits = told(_RUNNING), told(_WAITING), sum(told(_CACHE_ASKED)), told(_CACHE_FOUND)
    shares = [share for share in told(_CACHE_USED) if share <= 1]
    return Load(
        running=int(sum(running)) if running else None,
        waiting=int(sum(waiting)) if waiting else None,
        cache_used=sum(shares) / len(shares) if shares else None,  # replicas have caches of one size
        cache_found=min(1.0, sum(hits) / asked) if hits and asked else None,
    )


def _label(name: str) -> str:
    shown = name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'engine="{shown}"'


def _read(page: bytes, whose: str, families: dict[str, Family]) -> None:
    current = ""
    for line in page.decode("utf-8", "replace").splitlines():
        if kind := _TYPE.fullmatch(line):
            current = kind[1]
            if not current.endswith(_NO_NUMBERS):
                families.setdefault(current, Family(kind[2]))
        elif (sample := _SAMPLE.fullmatch(line)) and _belongs(sample[1], current) and current in families:
            families[current].samples.append(_sample(sample[1], sample[2] or "", sample[3], whose))


def _belongs(sample: str, family: str) -> bool:
    return bool(family) and sample.removeprefix(family) in _SUFFIXES


def _sample(name: str, labels: str, value: str, whose: str) -> str:
    if whose:
        # vLLM has a label of that name for the replicas inside one server; Prometheus itself renames such ones so.
        labels = ",".join(filter(None, (whose, _ENGINE.sub(r'\1exported_engine="', labels.rstrip(",")))))
    return f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


class EngineMetrics:
    """Asks them all at the same time; `clock` counts seconds. Of each of `engines` it says whether it is ready."""

    def __init__(
        self,
        sources: Iterable[Source],
        clock: Callable[[], float],
        engines: Mapping[str, Engine] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._sources = tuple(sources)
        self._engines = engines or {}
        self._clock = clock
        self._seconds = seconds
        self._asking = asyncio.Lock()
        self._text = b""
        self._loads: dict[str, Load] = {}
        self._fresh_until = float("-inf")
        self._log = structlog.get_logger()

    async def read(self) -> bytes:
        """Which engines are ready, and their own numbers, at most FRESH_SECONDS old, in Prometheus' text format. Never
        raises."""
        own = [
            f"frontdesk_engine_ready{{{_label(name)}}} {int(engine.state is EngineState.READY)}\n"
            for name, engine in self._engines.items()
        ]
        await self._refresh()
        return "".join(("# TYPE frontdesk_engine_ready gauge\n", *own)).encode() + self._text if own else self._text

    async def standing(self) -> tuple[Standing, ...]:
        """Each engine, its load at most FRESH_SECONDS old and without numbers where it told none. Never raises."""
        await self._refresh()
        loads = self._loads
        return tuple(Standing(name, engine.state, loads.get(name, Load())) for name, engine in self._engines.items())

    async def _refresh(self) -> None:
        async with self._asking:
            if self._clock() >= self._fresh_until:
                pages = await asyncio.gather(*(self._page(source) for source in self._sources))
                named = {source.name: page for source, page in zip(self._sources, pages, strict=True)}
                self._text = gather(named)
                self._loads = {name: load_of(page) for name, page in named.items()}
                self._fresh_until = self._clock() + FRESH_SECONDS

    async def _page(self, source: Source) -> bytes:
        """What it tells, as far as the limit; nothing where it does not answer."""
        connector = aiohttp.UnixConnector(str(source.uds)) if source.uds else aiohttp.TCPConnector()
        headers = {"Accept-Encoding": "identity"}
        if source.key:
            headers["Authorization"] = f"Bearer {source.key.get_secret_value().strip()}"
        limits = aiohttp.ClientTimeout(total=self._seconds)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=limits, headers=headers) as http,
                http.get(source.url, allow_redirects=False) as answer,
            ):
                return await _whole(answer.content) if answer.status == 200 else b""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._log.debug("engine_metrics_missing", engine=source.name, reason=type(error).__name__)
            return b""


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """A page, or of a larger one what is whole of it: all before its last metric begins."""
    page = b""
    while part := await content.readany():
        page += part
        if len(page) > PAGE_LIMIT:
            return page[:PAGE_LIMIT].rpartition(b"# TYPE ")[0]
    return page
