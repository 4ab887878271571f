"""Who installed the app, in the ledger's database: a workspace's token is there before Slack's page says "installed".

It fills slack_sdk's AsyncInstallationStore, for Bolt's own OAuth parts. A token that expires is refreshed in time
(docs.slack.dev/authentication/using-token-rotation). Only Slack's answer to a code of its own makes an installation, so
no visitor can fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from slack_sdk.errors import SlackClientError, SlackTokenRotationError
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from adapters.slack.api import SlackApi
from adapters.slack.events import Home
from core.channel import Gateway
from core.errors import DeliveryError

BOTS_KEPT = 500  # in memory; all are in the ledger
REFRESH_SECONDS = 7_200.0  # before a token expires; it lives for 12 hours
# Of the person who installed it, and never used here.
_UNUSED = ("user_token", "user_refresh_token", "user_token_expires_at", "incoming_webhook_url")


@dataclass(frozen=True, slots=True)
class InstalledBot:
    """What is needed of an installation."""

    home: Home  # as it was installed: a workspace's message may belong to its organisation's installation
    token: str
    user: str
    refreshed_before: float  # when the token has to be refreshed; infinite for one that does not expire


class Installations(AsyncInstallationStore):
    """The installations of one app."""

    def __init__(
        self,
        name: str,
        gateway: Gateway,
        api: SlackApi,
        *,
        client_id: str,
        client_secret: str,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._gateway = gateway
        self._api = api
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._bots: OrderedDict[Home, InstalledBot] = OrderedDict()
        self._refreshing = asyncio.Lock()  # a refresh token is good for one use

    @property
    def logger(self) -> logging.Logger:
        return self._api.logger

    # --- for the channel --------------------------------------------------------------------------------------------

    async def bot(self, home: Home, *, fresh: bool = False) -> InstalledBot | None:
        """The bot of a workspace; if `fresh`, with a token that is good now. Raises LedgerError, and DeliveryError when
        Slack does not refresh it."""
        known = self._bots.get(home)
        if known is None:
            found = await self._find(home)
            if found is None:
                return None
            known = _bot(found)
        if fresh and self._clock() >= known.refreshed_before:
            known = await self._refreshed(home)
        self._bots[home] = known
        self._bots.move_to_end(home)
        if len(self._bots) > BOTS_KEPT:
            self._bots.popitem(last=False)
        return known

    async def forget(self, home: Home, happened_at: float) -> bool:
        """The app was removed there; a late report of it does not undo an installation made since."""
        found = await self._kept(home)
        if found is not None and happened_at and (found.installed_at or 0.0) > happened_at:
            return False
        await self.async_delete_all(enterprise_id=home.enterprise, team_id=home.team)
        return True

    # --- AsyncInstallationStore -------------------------------------------------------------------------------------

    async def async_save(self, installation: Installation) -> None:
        values = {key: value for key, value in vars(installation).items() if key not in _UNUSED}
        home = _home_of(installation)
        await self._gateway.keep(self._name, _key(home), values)
        self._bots.clear()  # one of a whole organisation changes what its workspaces have

    async def async_find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> Installation | None:
        return await self._find(Home("" if is_enterprise_install else team_id or "", enterprise_id or ""))

    async def async_find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        found = await self.async_find_installation(
            enterprise_id=enterprise_id, team_id=team_id, is_enterprise_install=is_enterprise_install
        )
        return None if found is None else found.to_bot()

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        await self._gateway.keep(self._name, _key(Home(team_id or "", enterprise_id or "")), None)
        self._bots.clear()

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        await self.async_delete_bot(enterprise_id=enterprise_id, team_id=team_id)

    async def async_delete_all(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        await self.async_delete_bot(enterprise_id=enterprise_id, team_id=team_id)

    # ----------------------------------------------------------------------------------------------------------------

    async def _find(self, home: Home) -> Installation | None:
        """A workspace's own installation, its organisation's, or its own from before it joined the organisation."""
        places = dict.fromkeys((home, Home("", home.enterprise), Home(home.team)))
        for place in places:
            if place.team or place.enterprise:
                found = await self._kept(place)
                if found is not None:
                    return found
        return None

    async def _kept(self, home: Home) -> Installation | None:
        values = await self._gateway.kept(self._name, _key(home))
        return None if values is None else _installation(values)

    async def _refreshed(self, home: Home) -> InstalledBot:
        async with self._refreshing:
            found = await self._find(home)  # who waited here finds it done
            if found is None:
                raise DeliveryError(f"the app is not installed in {home} any more")
            if self._clock() < _bot(found).refreshed_before:
                return _bot(found)
            return _bot(await self._refresh(found))

    async def _refresh(self, installation: Installation) -> Installation:
        rotator = AsyncTokenRotator(
            client=self._api.open(), client_id=self._client_id, client_secret=self._client_secret
        )
        try:
            # The time to do it is judged here, by our clock.
            fresh = await rotator.perform_bot_token_rotation(
                bot=installation.to_bot(), minutes_before_expiration=1 << 30
            )
        except SlackTokenRotationError as error:
            code = getattr(error.api_error, "response", {}).get("error")
            raise DeliveryError(f"the token cannot be refreshed ({code}): install the app again") from None
        except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
            reason = f"the token cannot be refreshed now ({type(error).__name__})"
            raise DeliveryError(reason, retryable=True) from None
        if fresh is None:
            return installation
        installation.bot_token = fresh.bot_token
        installation.bot_refresh_token = fresh.bot_refresh_token
        installation.bot_token_expires_at = fresh.bot_token_expires_at
        await self.async_save(installation)
        return installation


def _key(home: Home) -> str:
    return f"installation/{home.enterprise or '-'}/{home.team or '-'}"


def _home_of(installation: Installation) -> Home:
    team = "" if installation.is_enterprise_install else installation.team_id or ""
    return Home(team, installation.enterprise_id or "")


def _installation(values: Mapping[str, Any]) -> Installation:
    return Installation(**{"user_id": ""} | {key: value for key, value in values.items() if value is not None})


def _bot(installation: Installation) -> InstalledBot:
    expires = installation.bot_token_expires_at
    return InstalledBot(
        home=_home_of(installation),
        token=installation.bot_token or "",
        user=installation.bot_user_id or "",
        refreshed_before=float("inf") if expires is None else expires - REFRESH_SECONDS,
    )
