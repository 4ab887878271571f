"""How the house did over the last hour or day, counted from the ledger, so that a restart forgets nothing.

Messages and turns are numbered as they come, so the walk goes from the newest backwards and stops where the time ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from core.ledger.writer import Connection
from core.types import MessageState, ReplyKind

LONGEST_TURN = 3600.0  # seconds: a turn that began so long before is not looked for


@dataclass(slots=True)
class Bucket:
    """What happened in one step of time, or in all of it."""

    accepted: int = 0
    throttled: int = 0
    answered: int = 0
    apologised: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    first_text: list[float] = field(default_factory=list)  # seconds from the message to the first visible text
    reply: list[float] = field(default_factory=list)  # seconds from the message to the committed reply


COUNTED = ("accepted", "throttled", "answered", "apologised", "prompt_tokens", "cached_tokens", "completion_tokens")
SHARES = {"p50": 0.5, "p95": 0.95}


def series(connection: Connection, since: float, until: float, step: float) -> dict[str, object]:
    """Counts and percentiles for each `step` seconds from `since` on, and for all of them."""
    number = max(1, round((until - since) / step))
    buckets, total = [Bucket() for _ in range(number)], Bucket()
    for at, bucket in _messages(connection, since):
        _add(buckets, total, int((at - since) / step), bucket)
    for at, bucket in _turns(connection, since):
        _add(buckets, total, int((at - since) / step), bucket)
    columns: dict[str, object] = {"at": [since + index * step for index in range(number)]}
    totals: dict[str, object] = {}
    for name in COUNTED:
        columns[name] = [getattr(bucket, name) for bucket in buckets]
        totals[name] = getattr(total, name)
    for name in ("first_text", "reply"):
        for label, share in SHARES.items():
            columns[f"{name}_{label}"] = [_percentile(getattr(bucket, name), share) for bucket in buckets]
            totals[f"{name}_{label}"] = _percentile(getattr(total, name), share)
    return {"step": step, "series": columns, "totals": totals}


def _messages(connection: Connection, since: float) -> Iterator[tuple[float, Bucket]]:
    for at, state in connection.execute("SELECT accepted_at, state FROM messages ORDER BY id DESC"):
        if at < since:
            return
        yield at, Bucket(accepted=1, throttled=int(state == MessageState.THROTTLED))


def _turns(connection: Connection, since: float) -> Iterator[tuple[float, Bucket]]:
    rows = connection.execute(
        "SELECT t.committed_at, t.started_at, t.kind, t.prompt_tokens, t.cached_tokens, t.completion_tokens,"
        " t.first_text_seconds, (SELECT min(accepted_at) FROM messages m WHERE m.turn_id = t.id) FROM turns t"
        " WHERE t.state = 'done' ORDER BY t.id DESC"
    )
    for committed, started, kind, prompt, cached, completion, first_text, asked in rows:
        if started < since - LONGEST_TURN:
            return
        if committed >= since and kind != ReplyKind.NOTICE:
            bucket = Bucket(
                answered=int(kind == ReplyKind.ANSWER),
                apologised=int(kind == ReplyKind.APOLOGY),
                prompt_tokens=prompt,
                cached_tokens=cached,
                completion_tokens=completion,
            )
            if first_text is not None:
                bucket.first_text.append(first_text)
            if asked is not None and kind == ReplyKind.ANSWER:
                bucket.reply.append(max(0.0, committed - asked))
            yield committed, bucket


def _add(buckets: Sequence[Bucket], total: Bucket, index: int, one: Bucket) -> None:
    for bucket in (total, buckets[min(index, len(buckets) - 1)]):
        for name in COUNTED:
            setattr(bucket, name, getattr(bucket, name) + getattr(one, name))
        bucket.first_text += one.first_text
        bucket.reply += one.reply


def _percentile(values: list[float], share: float) -> float | None:
    """The value that `share` of them do not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)
