"""What a verified request means: a message is on disk before Slack gets its 200, and everything else gets one at once.

What cannot be read, or is not for the bot, gets 200 and a log line, or Slack would repeat it. Requests that mean
nothing to us go on to Bolt (bolt.py). A workspace that has not installed the app is not answered at all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import structlog
from aiohttp import web

from adapters.slack import convert, events
from adapters.slack.bolt import BoltSide
from adapters.slack.events import Home
from adapters.slack.workspaces import Workspace, Workspaces
from core.channel import Gateway
from core.language import detect
from core.types import ConversationKey, InboundMessage, JsonObject, MessageState

CHATS_KEPT = 2_000  # the newest, for when the bot is removed from their workspace
_SUGGESTED = ("suggested_1", "suggested_2", "suggested_3")


class Incoming:
    """The requests of one app, from all its workspaces."""

    def __init__(
        self, name: str, bot: str, gateway: Gateway, workspaces: Workspaces, bolt: BoltSide, *, threads: bool
    ) -> None:
        self._name = name
        self._bot = bot
        self._gateway = gateway
        self._workspaces = workspaces
        self._bolt = bolt
        self._threads = threads
        self._log = structlog.get_logger().bind(channel=name)
        self._chats: OrderedDict[tuple[str, str], None] = OrderedDict()  # Workspace.apart, chat id

    async def take(self, request: web.Request, body: JsonObject) -> web.StreamResponse:
        """The answer to a verified request. Raises LedgerError: no 200 for what is not on disk."""
        home = events.home(body) or Home("")
        workspace = await self._workspaces.find(home)
        if workspace is None:
            if body.get("type") != "url_verification":
                self._log.warning("workspace_not_installed", workspace=str(home)[:64])
                return web.Response()
            return await self._bolt.answer(request, body)
        found = self._message(body, workspace)
        if isinstance(found, InboundMessage):
            await self._receive(found, workspace, home)
            # A question in a slash command: let those who will read the answer see the question.
            visible = body.get("command") and not found.command
            return web.json_response({"response_type": "in_channel"}) if visible else web.Response()
        if found != convert.NOT_A_MESSAGE:
            self._log.debug("event_ignored", reason=found)
            return web.Response()
        if await self._voted(body, workspace) or self._opened(body, workspace):
            return web.Response()
        if await self._stopped(body, workspace) or await self._left(body, workspace, home):
            return web.Response()
        return await self._bolt.answer(request, body)

    def _message(self, body: JsonObject, workspace: Workspace) -> InboundMessage | str:
        found = convert.message(
            body,
            channel=self._name,
            bot=self._bot,
            own_user=workspace.own_user,
            threads=self._threads,
            apart=workspace.apart,
        )
        if found != convert.NOT_A_MESSAGE:
            return found
        return convert.command(body, channel=self._name, bot=self._bot, apart=workspace.apart)

    async def _receive(self, message: InboundMessage, workspace: Workspace, home: Home) -> None:
        if workspace.apart:
            installed = {"home_team": home.team, "enterprise": home.enterprise}
            message = replace(message, address={**message.address, **installed})
        receipt = await self._gateway.receive(message)
        if receipt.state is MessageState.WAITING and not receipt.duplicate:
            language = detect(message.text, message.language)
            workspace.status.show(message.address, self._gateway.phrase(self._bot, "chat_writing", language))
        chat = (workspace.apart, message.conversation.chat_id)
        self._chats[chat] = None
        self._chats.move_to_end(chat)
        if len(self._chats) > CHATS_KEPT:
            self._chats.popitem(last=False)

    async def _voted(self, body: JsonObject, workspace: Workspace) -> bool:
        """A press of the buttons under an answer. Nothing is said about it: Slack shows which one is pressed."""
        vote = events.vote(body, channel=self._name, bot=self._bot, apart=workspace.apart)
        if vote is None:
            return False
        stored = await self._gateway.feedback(vote.conversation, vote.turn_id, vote.user_id, vote.vote)
        if not stored:
            self._log.info("vote_for_no_answer", turn=vote.turn_id)
        return True

    def _opened(self, body: JsonObject, workspace: Workspace) -> bool:
        """Somebody looks at the bot's conversation: there is something to choose from, and nothing is posted."""
        opened = events.opened(body)
        if opened is None:
            return False
        title, *suggested = (self._gateway.phrase(self._bot, name, "") for name in ("suggested_title", *_SUGGESTED))
        workspace.prompts.suggest(opened, title, suggested)
        return True

    async def _stopped(self, body: JsonObject, workspace: Workspace) -> bool:
        """The stop button: the reply ends, and so does the sign that it is being written."""
        asked = events.stopped(body, channel=self._name, bot=self._bot, apart=workspace.apart)
        for conversation in asked:
            if await self._gateway.stop(conversation):
                break
        if asked:
            channel = asked[0].chat_id.removeprefix(workspace.apart)
            workspace.status.done({"channel": channel, "thread_ts": asked[0].thread_id})
        return bool(asked)

    async def _left(self, body: JsonObject, workspace: Workspace, home: Home) -> bool:
        """The bot was removed, from a channel or from the workspace."""
        place = events.left(body, workspace.own_user)
        if place is None:
            return False
        if place:
            gone = [workspace.apart + place]
        elif not await self._workspaces.forget(home, events.happened_at(body)):
            return True  # a late report: it was installed again since
        else:
            gone = [chat for apart, chat in self._chats if apart == workspace.apart]
        self._log.warning("left", place=place or "workspace", workspace=str(home)[:64], chats=len(gone))
        for chat in gone:
            self._chats.pop((workspace.apart, chat), None)
            await self._gateway.leave(ConversationKey(self._name, self._bot, chat))
        return True
