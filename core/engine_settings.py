"""The `[engine]` section: where the model runs, one engine or several, and what each call of it carries."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from core.section import Count, HttpUrl, Positive, Section, Texts, http_url

SHORTEST_SALT = 32  # vLLM asks for one that nobody can guess


def _engine_urls(values: tuple[str, ...]) -> tuple[str, ...]:
    """Several addresses of engines; what differs only in its user is the same one."""
    if "" in values:
        raise ValueError("holds an empty address")
    urls = tuple(http_url(value) for value in values)
    places = [(parts.scheme, parts.hostname, parts.port, parts.path) for parts in map(urlsplit, urls)]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise ValueError(f"names the engine at {place[1]} twice; each has an address of its own")
    return urls


class EngineSettings(Section):
    mode: Literal["vllm", "remote"] = "vllm"
    base_url: HttpUrl = ""
    base_urls: Annotated[Texts, AfterValidator(_engine_urls)] = ()
    model: Annotated[str, Field(min_length=1)] = "auto"
    api_key_env: str = "FRONTDESK_ENGINE_API_KEY"
    api_key: SecretStr | None = None
    cache_salt_env: str = "FRONTDESK_ENGINE_CACHE_SALT"
    cache_salt: SecretStr | None = None
    priority: bool | Literal["auto"] = "auto"
    max_concurrency: Count = 16
    args: Texts = ()
    connect_seconds: Positive = 5.0
    first_token_seconds: Positive = 120.0
    silence_seconds: Positive = 60.0
    max_model_len: Annotated[int, Field(ge=0)] = 0
    max_num_seqs: Annotated[int, Field(ge=0)] = 0
    max_num_batched_tokens: Annotated[int, Field(ge=0)] = 0
    gpu_memory_utilization: Annotated[float, Field(ge=0, le=1)] = 0.0
    tensor_parallel_size: Annotated[int, Field(ge=0)] = 0
    quantization: str = ""
    dtype: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the remote engines, one or several."""
        return self.base_urls or (self.base_url,)

    @property
    def by_priority(self) -> bool:
        """Whether calls say how soon they want to be served; "auto": to the vLLM that is started here."""
        return self.mode == "vllm" if self.priority == "auto" else self.priority

    @model_validator(mode="after")
    def _remote_has_an_address(self) -> Self:
        if self.base_urls and self.mode == "vllm":
            raise ValueError('base_urls needs mode "remote": in mode "vllm" the one engine is started here')
        if self.base_urls and self.base_url:
            raise ValueError("set base_url (one engine) or base_urls (several), not both")
        if self.mode == "remote" and not self.base_url and not self.base_urls:
            raise ValueError('mode "remote" needs base_url, such as http://127.0.0.1:8000/v1')
        return self

    @model_validator(mode="after")
    def _salt_is_long(self) -> Self:
        if self.cache_salt is not None and len(self.cache_salt.get_secret_value()) < SHORTEST_SALT:
            raise ValueError(f"a cache salt needs {SHORTEST_SALT} characters or more, drawn at random")
        return self
