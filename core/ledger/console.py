"""What the operator's console asks of the ledger and does to it: it reads beside the gateway, on a connection of its
own, and writes through the one writer, so that nobody who is answered waits for a page.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.audit import AuditEntry
from core.ledger import archive, erasure, facts, keys, office, people, search, statistics
from core.ledger.archive import Item, Page, Wanted
from core.ledger.keys import Key
from core.ledger.office import Stuck
from core.ledger.sqlite import SqliteLedger
from core.ledger.writer import Connection

TICKETS = "console"  # whose facts they are
INDEXED = 500  # messages, and as many turns, in one transaction of the index


class ConsoleLedger:
    """`who` is the operator, for the audit record."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    async def conversations(self, wanted: Wanted) -> Page:
        return await self._ledger.browse(lambda c: archive.conversations(c, wanted))

    async def conversation(self, number: int) -> Item | None:
        return await self._ledger.browse(lambda c: archive.conversation(c, number))

    async def entries(self, number: int, before: float, limit: int) -> Page:
        return await self._ledger.browse(lambda c: archive.entries(c, number, before, limit))

    async def pulse(self) -> dict[int, str]:
        return await self._ledger.browse(archive.pulse)

    async def pulse_of(self, number: int) -> str:
        return await self._ledger.browse(lambda c: archive.pulse_of(c, number))

    async def series(self, since: float, until: float, step: float) -> dict[str, object]:
        return await self._ledger.browse(lambda c: statistics.series(c, since, until, step))

    async def stuck(self) -> Sequence[Stuck]:
        return await self._ledger.browse(office.stuck)

    async def users(self, wanted: str, channel: str, before: int, limit: int) -> Page:
        return await self._ledger.browse(lambda c: people.users(c, wanted, channel, before, limit))

    async def user(self, number: int, now: float) -> Item | None:
        return await self._ledger.browse(lambda c: people.user(c, number, now))

    async def index(self) -> int:
        """Bring the search index up to date by a step; how much it took up. 0: it is."""
        return await self._ledger.write(lambda c: search.index(c, INDEXED))

    async def forget_tickets(self, now: float) -> None:
        """Those that let nobody in any more."""
        await self._ledger.write(lambda c: facts.forget_ended(c, TICKETS, now))

    async def mark(self, turn: int, mark: str, note: str, who: str, now: float) -> bool:
        """What an operator thinks of a reply: "good", "bad" or ""; False if there is no such reply."""

        def write(connection: Connection) -> bool:
            if not archive.mark(connection, turn, mark, note):
                return False
            self._ledger.audit(connection, AuditEntry("mark", f"turn/{turn}", {"who": who, "mark": mark}), now)
            return True

        return await self._ledger.write(write)

    async def limit(self, user: int, per_minute: float | None, per_day: int | None, who: str, now: float) -> bool:
        """Give a user limits of their own; None is the usual one."""
        detail = {"who": who, "messages_per_minute": per_minute, "tokens_per_day": per_day}

        def write(connection: Connection) -> bool:
            if not people.limit(connection, user, per_minute, per_day):
                return False
            self._ledger.audit(connection, AuditEntry("limit", f"user/{user}", detail), now)
            return True

        return await self._ledger.write(write)

    async def block(self, user: int, who: str, now: float, *, blocked: bool) -> bool:
        """Answer a user no more, or again."""

        def write(connection: Connection) -> bool:
            if not people.block(connection, user, blocked=blocked):
                return False
            action = "block" if blocked else "unblock"
            self._ledger.audit(connection, AuditEntry(action, f"user/{user}", {"who": who}), now)
            return True

        return await self._ledger.write(write)

    async def keys(self) -> list[Key]:
        """The API's, all there ever were, oldest first."""
        return await self._ledger.browse(lambda c: keys.listed(c, keys.CHANNEL))

    async def create_key(
        self, name: str, bots: Sequence[str], per_minute: float | None, who: str, now: float
    ) -> tuple[Key, str]:
        """A new key of the API, and its secret, which nobody can read again."""
        detail = {"who": who, "name": name, "bots": list(bots), "requests_per_minute": per_minute}

        def write(connection: Connection) -> tuple[Key, str]:
            key, secret = keys.create(connection, keys.CHANNEL, name, bots, per_minute, now)
            self._ledger.audit(connection, AuditEntry("key_created", f"key/{key.id}", detail), now)
            return key, secret

        return await self._ledger.write(write)

    async def revoke_key(self, number: int, who: str, now: float) -> Key | None:
        """A key opens nothing any more; None if there is no such key, or it did not before."""

        def write(connection: Connection) -> Key | None:
            key = keys.revoke(connection, keys.CHANNEL, number, now)
            if key is not None:
                detail = {"who": who, "name": key.name}
                self._ledger.audit(connection, AuditEntry("key_revoked", f"key/{key.id}", detail), now)
            return key

        return await self._ledger.write(write)

    async def retry(self, names: Sequence[str] | None, who: str, now: float) -> list[str]:
        """Try set-aside messages and refused deliveries again; None: all that may be. Those that were."""

        def write(connection: Connection) -> list[str]:
            wanted = office.failed(connection) if names is None else names
            done = office.retry_each(connection, wanted, now)
            if done:
                self._ledger.audit(connection, AuditEntry("retry", "ledger", {"who": who, "names": done}), now)
            return done

        return await self._ledger.write(write)

    async def record(self, entry: AuditEntry, now: float) -> None:
        await self._ledger.record(entry, now)

    async def exported(self, what: str, count: int, who: str, now: float) -> None:
        """Record that texts left the house."""
        detail = {"who": who, "format": what, "conversations": count}
        await self._ledger.write(lambda c: self._ledger.audit(c, AuditEntry("export", "conversations", detail), now))

    async def erase(self, channel: str, user_id: str, who: str, now: float) -> int:
        """Erase a person; how many messages of theirs there were."""
        return await self._ledger.apart(lambda c: erasure.erase(c, channel, user_id, now, who))
