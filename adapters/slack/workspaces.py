"""Each workspace is written to with its own token and within its own rates; one that is not installed, not at all.

Slack counts calls by method, workspace and app (docs.slack.dev/apis/web-api/rate-limits), so what counts and remembers
them is kept apart, for the workspaces that were heard of last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from adapters.slack.api import SlackApi
from adapters.slack.doubts import Doubts
from adapters.slack.events import Home
from adapters.slack.forms import Forms
from adapters.slack.installations import Installations
from adapters.slack.looking import Looking
from adapters.slack.prompts import Prompts
from adapters.slack.sending import Sending
from adapters.slack.settings import Streaming
from adapters.slack.status import StatusLine
from adapters.slack.streams import Streams

WORKSPACES_KEPT = 200


@dataclass(slots=True)
class Workspace:
    """One workspace, as far as calls to it go."""

    api: SlackApi
    sending: Sending
    looking: Looking
    status: StatusLine
    prompts: Prompts
    own_user: str = ""  # the bot's user id there, "" before it is known
    apart: str = ""  # comes before the ids of its chats and people, where there are other workspaces

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way in the background."""
        return self.status.idle and self.prompts.idle

    async def settled(self) -> None:
        """Wait until it is idle."""
        await self.status.settled()
        await self.prompts.settled()

    async def close(self) -> None:
        """Drop what is on its way in the background."""
        await self.status.close()
        await self.prompts.close()


class Opening:
    """How a workspace of this channel is built."""

    def __init__(self, name: str, streaming: Streaming, clock: Callable[[], float]) -> None:
        self._name = name
        self._streaming = streaming
        self._clock = clock

    def __call__(self, api: SlackApi, *, own_user: str = "", apart: str = "") -> Workspace:
        name, clock, forms = self._name, self._clock, Forms()
        log = structlog.get_logger().bind(channel=name)
        streams = None if self._streaming == "edit" else Streams(name, api, forms, clock)
        looking = Looking(name, api, clock)
        sending = Sending(api, streams, forms, Doubts(name, looking, forms, clock), clock, log)
        return Workspace(api, sending, looking, StatusLine(name, api, clock), Prompts(name, api), own_user, apart)


class Workspaces(Protocol):
    """Those that the channel serves."""

    async def find(self, home: Home, *, fresh: bool = False) -> Workspace | None:
        """The one of an installation, None if there is none. `fresh`: to call it, which takes a token that is good now.
        Raises LedgerError, and DeliveryError where a token cannot be refreshed."""

    async def forget(self, home: Home, happened_at: float) -> bool:
        """It was removed there; False if it was installed again since. Raises LedgerError."""

    def known(self) -> list[Workspace]:
        """Those in memory."""


class OneWorkspace:
    """The workspace of the token in the settings; nobody else's requests are signed with the app's secret."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    async def find(self, home: Home, *, fresh: bool = False) -> Workspace | None:
        return self.workspace

    async def forget(self, home: Home, happened_at: float) -> bool:
        return True

    def known(self) -> list[Workspace]:
        return [self.workspace]


class InstalledWorkspaces:
    """Those that have installed the app, by the installations in the ledger."""

    def __init__(self, installations: Installations, api: SlackApi, opening: Opening) -> None:
        self._installations = installations
        self._api = api
        self._opening = opening
        self._known: OrderedDict[Home, tuple[str, Workspace]] = OrderedDict()  # with its token

    async def find(self, home: Home, *, fresh: bool = False) -> Workspace | None:
        found = await self._installations.bot(home, fresh=fresh)
        if found is None:
            self._known.pop(home, None)
            return None
        token, workspace = self._known.get(home, ("", None))
        if workspace is None or token != found.token:
            api = self._api.with_token(found.token)
            workspace = self._opening(api, own_user=found.user, apart=f"{found.home.team or found.home.enterprise}/")
            self._known[home] = (found.token, workspace)
            self._drop_oldest()
        self._known.move_to_end(home)
        return workspace

    async def forget(self, home: Home, happened_at: float) -> bool:
        self._known.pop(home, None)
        return await self._installations.forget(home, happened_at)

    def known(self) -> list[Workspace]:
        return [workspace for _, workspace in self._known.values()]

    def _drop_oldest(self) -> None:
        if len(self._known) > WORKSPACES_KEPT:
            idle = (home for home, (_, workspace) in self._known.items() if workspace.idle)
            self._known.pop(next(idle, next(iter(self._known))))
