"""All that a bot has been, in SQL: each version as an operator wrote it, with who and when; none is ever changed."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from core.audit import AuditEntry
from core.ledger.sqlite import SqliteLedger
from core.ledger.turns import json_object
from core.ledger.writer import Connection
from core.recipe import Recipe, recipe_of

COLUMNS = "bot, number, at, who, note, version, restores, files, recipe"


@dataclass(frozen=True, slots=True)
class Version:
    """`number` counts from 1 for each bot; the newest one is live."""

    bot: str
    number: int
    at: float
    who: str  # "files": somebody who edited the bot's folder
    note: str
    version: str  # under which its replies stand in the audit record
    restores: int | None  # the number of the version that it brought back
    files: str  # the digest of what the files said then
    recipe: Recipe


class VersionBook:
    """Reads beside the gateway; writes through the one writer."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    async def newest(self, bot: str) -> Version | None:
        found = await self._ledger.browse(lambda c: select(c, "bot = ? ORDER BY number DESC LIMIT 1", bot))
        return found[0] if found else None

    async def listed(self, bot: str) -> list[Version]:
        return await self._ledger.browse(lambda c: select(c, "bot = ? ORDER BY number DESC", bot))

    async def one(self, bot: str, number: int) -> Version | None:
        found = await self._ledger.browse(lambda c: select(c, "bot = ? AND number = ?", bot, number))
        return found[0] if found else None

    async def add(self, version: Version) -> None:
        """Raises LedgerError where the number is taken."""

        def write(connection: Connection) -> None:
            recipe = orjson.dumps(version.recipe.as_json()).decode()
            values = (version.bot, version.number, version.at, version.who, version.note, version.version)
            connection.execute(
                f"INSERT INTO bot_versions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - ours
                (*values, version.restores, version.files, recipe),
            )
            detail: dict[str, object] = {"who": version.who, "bot": version.bot, "version": version.version}
            detail |= {"number": version.number, "recipe": version.recipe.digest, "restores": version.restores}
            self._ledger.audit(connection, AuditEntry("version", f"bot/{version.bot}", detail), version.at)

        await self._ledger.write(write)


def select(connection: Connection, where: str, *values: object) -> list[Version]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM bot_versions WHERE {where}", values)  # noqa: S608 - ours
    return [Version(*(*row[:-1], recipe_of(json_object(row[-1])))) for row in rows.fetchall()]
