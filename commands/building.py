"""The engine as the settings want it: vLLM started here, or one or several servers elsewhere; and their own numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import structlog
from yarl import URL

from commands import Plan
from core import vllm_plan
from core.client import OpenAIEngine
from core.config import Environment
from core.engine import Engine
from core.engine_metrics import EngineMetrics, Source, source_of
from core.errors import ConfigError
from core.fleet import Fleet
from core.machine import look
from core.vllm import VllmServer, server_command
from core.vllm_output import KeptOutput
from core.vllm_trouble import is_trouble


class Engines(NamedTuple):
    """What `[engine]` builds."""

    engine: Engine
    supervisor: VllmServer | None
    metrics: EngineMetrics


def build_engine(plan: Plan, clock: Callable[[], float]) -> Engines:
    """Construct it; nothing is asked yet. Raises ConfigError when vLLM cannot be started with these settings."""
    settings = plan.settings.engine
    client = partial(
        OpenAIEngine,
        connect_seconds=settings.connect_seconds,
        first_token_seconds=settings.first_token_seconds,
        silence_seconds=settings.silence_seconds,
        connections=settings.max_concurrency * 2,
        cache_salt=settings.cache_salt,
        by_priority=settings.by_priority,
    )
    if settings.mode == "remote":
        served = "" if settings.model == "auto" else settings.model
        named = {shown(url): url for url in settings.addresses}
        engines = {name: client(url, model=served, api_key=settings.api_key) for name, url in named.items()}
        sources = [source_of(name, url, settings.api_key) for name, url in named.items()]
        one = next(iter(engines.values())) if len(engines) == 1 else None
        return Engines(one or Fleet(engines), None, EngineMetrics(sources, clock, engines))
    server = _server(plan)
    engine = client("http://engine/v1", uds=server.socket, supervisor=server)
    source = Source("vllm", "http://engine/metrics", uds=server.socket)
    return Engines(engine, server, EngineMetrics([source], clock, {"vllm": engine}))


def shown(url: str) -> str:
    """An address as people may see it; it names the engine, so a new password moves no conversation."""
    return str(URL(url).with_user(None).with_query(None).with_fragment(None))


def _server(plan: Plan) -> VllmServer:
    python = plan.home / ".venv-engine" / "bin" / "python"
    if not python.exists():
        raise ConfigError(
            ['engine.mode: "vllm" needs the engine\'s environment; run `make setup`, or use mode "remote"']
        )
    settings, machine = plan.settings.engine, look()
    source = vllm_plan.choose(settings.model, machine, plan.home / "var" / "models")
    model = vllm_plan.read_model(source, vllm_plan.hub(plan.environment))
    decided = vllm_plan.plan(settings, machine, model)
    log = structlog.get_logger()
    return VllmServer(
        decided.label,
        partial(server_command, python, decided),
        environment={**decided.environment, **_variables(plan.environment), **os.environ},
        on_log=partial(_says, log, KeptOutput(plan.ledger_path.parent / "engine.log")),
        on_state=lambda state, detail: log.info("engine_state", state=state.value, detail=detail),
    )


def _variables(environment: Environment) -> dict[str, str]:
    """Of `.env`, only what is meant for the engine: the channels' secrets are none of its business."""
    return {name: value for name, value in environment.items() if name.startswith(("HF_", "VLLM_", "CUDA_", "NCCL_"))}


def _says(log: structlog.stdlib.BoundLogger, keep: KeptOutput, line: str) -> None:
    keep(line)
    # Loading prints a hundred lines that nobody needs; an error among them is what the operator looks for.
    (log.warning if is_trouble(line) else log.debug)("engine_says", line=line)
