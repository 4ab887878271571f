"""What /openapi.json says: made of the same table and types that the API is served from, and of nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, TypeAdapter

from adapters.api.door import Endpoint
from adapters.api.following import EVENT_STREAM

JSON = "application/json"
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """One status of an operation: its types, any of which it may be."""

    words: str
    types: tuple[type, ...] = ()
    events: tuple[str, ...] = ()  # it may be a stream of these, too; "message" is the one without a name
    headers: Mapping[str, str] = field(default_factory=dict)  # name -> what it says


@dataclass(frozen=True, slots=True)
class Callback:
    """A call that we make later, to the address in a field of the body."""

    field: str
    type: type
    words: str
    headers: Mapping[str, str]  # name -> what it says
    answers: Mapping[str, str]  # status, as OpenAPI writes them -> what comes of it


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: how it is called, and what it answers."""

    method: str
    path: str
    endpoint: Endpoint
    answers: Mapping[int, Answer]
    counted: bool = False
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    callback: Callback | None = None

    @property
    def models(self) -> tuple[type[BaseModel], ...]:
        return tuple(model for model in (self.body, self.query, self.headers) if model is not None)


def describe(operations: Sequence[Operation], public_url: str) -> Json:
    """The OpenAPI 3.1 document. It depends on nothing but its arguments: no key, no name of a bot."""
    schemas, components = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Frontdesk",
            "version": "1",
            "description": "Durable questions (/ask, /result) and an OpenAI-compatible face (/v1).",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }
    return document | ({"servers": [{"url": public_url}]} if public_url else {})


def _schemas(operations: Sequence[Operation]) -> tuple[dict[type, Json], Json]:
    """The schema of each type (mostly a reference), and what these refer to."""
    taken = {model for operation in operations for model in operation.models}
    given = {kind for operation in operations for answer in operation.answers.values() for kind in answer.types}
    told = {operation.callback.type for operation in operations if operation.callback is not None}
    kinds = sorted(taken | given | told, key=lambda kind: kind.__name__)
    schemas, definitions = TypeAdapter.json_schemas(
        [(kind, "validation" if kind in taken else "serialization", TypeAdapter(kind)) for kind in kinds],
        ref_template="#/components/schemas/{model}",
    )
    return {kind: dict(schema) for (kind, _), schema in schemas.items()}, dict(definitions.get("$defs", {}))


def _operation(operation: Operation, schemas: Mapping[type, Json]) -> Json:
    summary, _, description = inspect.cleandoc(operation.endpoint.__doc__ or "").partition("\n")
    described: Json = {
        "operationId": operation.endpoint.__name__,
        "summary": summary,
        "description": description.strip(),
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in _names(operation)
            ),
            *_parameters("query", operation.query),
            *_parameters("header", operation.headers),
        ],
        "responses": {str(status): _answer(answer, schemas) for status, answer in operation.answers.items()},
    }
    if operation.body is not None:
        content = {JSON: {"schema": schemas[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.callback is not None:
        described["callbacks"] = {operation.callback.field: _callback(operation.callback, schemas)}
    return described


def _callback(callback: Callback, schemas: Mapping[type, Json]) -> Json:
    parameters = [
        {"name": name, "in": "header", "required": True, "description": words, "schema": {"type": "string"}}
        for name, words in callback.headers.items()
    ]
    content = {JSON: {"schema": schemas[callback.type]}}
    called: Json = {
        "summary": callback.words,
        "security": [],  # the signature stands for it
        "parameters": parameters,
        "requestBody": {"required": True, "content": content},
        "responses": {status: {"description": words} for status, words in callback.answers.items()},
    }
    return {f"{{$request.body#/{callback.field}}}": {"post": called}}


def _names(operation: Operation) -> list[str]:
    return re.findall(r"{(\w+)}", operation.path)


def _parameters(place: str, model: type[BaseModel] | None) -> list[Json]:
    if model is None:
        return []
    schema = model.model_json_schema()
    required = schema.get("required", [])
    found = []
    for name, about in schema["properties"].items():
        # A default that stands for "not given" is no value of the parameter.
        plain = {key: value for key, value in about.items() if key not in {"title", "description", "default"}}
        words = about.get("description", "")
        found.append({"name": name, "in": place, "required": name in required, "description": words, "schema": plain})
    return found


def _answer(answer: Answer, schemas: Mapping[type, Json]) -> Json:
    found = [schemas[kind] for kind in answer.types]
    content: Json = {JSON: {"schema": found[0] if len(found) == 1 else {"anyOf": found}}} if found else {}
    if answer.events:
        # Of each event: OpenAPI 3.1 has no word for streams, and this is how their readers understand a schema.
        fields: Json = {"event": {"enum": list(answer.events)}, "data": {"type": "string", "description": "JSON"}}
        content[EVENT_STREAM] = {"schema": {"type": "object", "properties": fields, "required": ["data"]}}
    headers = {name: {"description": words, "schema": {"type": "string"}} for name, words in answer.headers.items()}
    return {"description": answer.words, "content": content, "headers": headers}
