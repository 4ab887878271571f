"""Every route of the API, once: what is served and what /openapi.json says of it come from this table."""

from __future__ import annotations

from adapters.api.answers import ChatCompletion, ModelList, Refusal, Result, Task, TaskAnswered
from adapters.api.completions import Completions
from adapters.api.convert import Ask, AskHeaders, Completion, ResultQuery
from adapters.api.description import Answer, Callback, Operation
from adapters.api.tasks import Tasks

LEFT = {
    "x-ratelimit-limit-requests": "Requests that this key or address may make at once.",
    "x-ratelimit-remaining-requests": "How many of them are left.",
    "x-ratelimit-reset-requests": 'Until all of them are there again, as "54s".',
}
AGAIN = {"Retry-After": "Seconds until it is worth trying again."}
REPLAYED = {"Idempotent-Replayed": '"true" for a repeat: this task was there before.'}
REFUSED = {
    400: Answer("Something in the request is wrong; the sentence names it.", (Refusal,)),
    401: Answer("There is no valid key.", (Refusal,)),
    403: Answer("The user is blocked, or the key is not for this bot or model.", (Refusal,)),
    404: Answer("There is no such bot, model or task, or it is another key's.", (Refusal,)),
    408: Answer("The body did not arrive in time.", (Refusal,)),
    413: Answer("The body is too large.", (Refusal,)),
    415: Answer("The body is packed.", (Refusal,)),
    422: Answer("The Idempotency-Key came with another body before.", (Refusal,)),
    429: Answer("The address or the user is over its limit.", (Refusal,), headers=AGAIN | LEFT),
    503: Answer("Not now: the store, the engine or a limit of streams is the reason.", (Refusal,), headers=AGAIN),
}
ANSWERED = Callback(
    "callback_url",
    TaskAnswered,
    "The task has come to its end with words.",
    {
        "webhook-id": "The same for each repeat of this call.",
        "webhook-timestamp": "When it was sent: seconds since the epoch.",
        "webhook-signature": '"v1," and the HMAC-SHA256 of id.timestamp.body in base64 (www.standardwebhooks.com).',
    },
    {
        "2XX": "Taken.",
        "408": "Made again, not before Retry-After; so after 425, 429, any 5XX, and without an answer within 10 s.",
        "default": "Not made again.",
    },
)
EVENTS = ("status", "delta", "draft", "result")
BODY = (400, 408, 413, 415)


def refused(*statuses: int) -> dict[int, Answer]:
    return {status: REFUSED[status] for status in sorted((401, 429, *statuses))}


def operations(tasks: Tasks, completions: Completions) -> tuple[Operation, ...]:
    """What the API can do; each needs a key."""
    return (
        Operation(
            "POST",
            "/ask",
            tasks.ask,
            {202: Answer("It is on disk.", (Task,), headers=REPLAYED | LEFT), **refused(*BODY, 403, 404, 422, 503)},
            counted=True,
            body=Ask,
            headers=AskHeaders,
            callback=ANSWERED,
        ),
        Operation(
            "GET",
            "/result/{task_id}",
            tasks.result,
            {
                200: Answer("What became of it: with an answer once there is one.", (Result, Task), EVENTS),
                **refused(400, 404, 503),
            },
            query=ResultQuery,
        ),
        Operation(
            "POST",
            "/v1/chat/completions",
            completions.complete,
            {
                200: Answer("Whole, or OpenAI's chunks as events.", (ChatCompletion,), ("message",), LEFT),
                **refused(*BODY, 403, 404, 503),
            },
            counted=True,
            body=Completion,
        ),
        Operation("GET", "/v1/models", completions.models, {200: Answer("All of them.", (ModelList,)), **refused()}),
    )
