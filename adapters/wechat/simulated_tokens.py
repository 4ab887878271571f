"""The simulated WeChat's access tokens: one that is stable, one that each call replaces, both with an end.

developers.weixin.qq.com: /cgi-bin/stable_token gives the same token until 5 minutes before its end; a forced refresh
ends the old one at once, at least 30 s after the one before it and 20 times a day. /cgi-bin/token replaces its own at
each call and leaves the stable one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

_LASTS = 7200  # seconds
_EARLY = 300.0  # before its end the next one is given
_FORCED_PAUSE = 30.0
_FORCED_A_DAY = 20
_DAY = 86_400.0


class Tokens:
    """The tokens of one account. Answers are WeChat's fields, or an errcode."""

    def __init__(self, clock: Callable[[], float], *, app_id: str, app_secret: str) -> None:
        self._clock = clock
        self._app_id = app_id
        self._app_secret = app_secret
        self._number = 0
        self._stable, self._plain = "", ""
        self._ends: dict[str, float] = {}  # of the two tokens that hold
        self._forced: list[float] = []  # of this day

    def spend(self) -> None:
        """End the stable token early, as WeChat does when somebody else forces a refresh."""
        self._ends[self._stable] = 0.0

    def stable(self, body: Mapping[str, object]) -> Mapping[str, object] | int:
        """/cgi-bin/stable_token."""
        refusal = self._credentials(body.get("appid"), body.get("secret"))
        if refusal:
            return refusal
        now = self._clock()
        if body.get("force_refresh"):
            self._forced = [at for at in self._forced if at // _DAY == now // _DAY]
            # Which codes WeChat answers here is not documented; these are its codes for too many calls.
            if len(self._forced) >= _FORCED_A_DAY:
                return 45009
            if self._forced and now - self._forced[-1] < _FORCED_PAUSE:
                return 45011
            self._forced.append(now)
        if body.get("force_refresh") or now >= self._ends.get(self._stable, 0.0) - _EARLY:
            self._stable = self._new(self._stable)
        return self._answer(self._stable)

    def plain(self, query: Mapping[str, str]) -> Mapping[str, object] | int:
        """/cgi-bin/token."""
        refusal = self._credentials(query.get("appid"), query.get("secret"))
        if refusal:
            return refusal
        self._plain = self._new(self._plain)
        return self._answer(self._plain)

    def refusal(self, token: str) -> int:
        """The errcode that a call with this token gets, 0 for none."""
        if not token:
            return 41001
        if token not in self._ends:
            return 40001
        return 42001 if self._clock() >= self._ends[token] else 0

    def _credentials(self, app_id: object, secret: object) -> int:
        if app_id != self._app_id:
            return 40013
        return 0 if secret == self._app_secret else 40125

    def _new(self, old: str) -> str:
        self._ends.pop(old, None)
        self._number += 1
        token = f"token-{self._number}"
        self._ends[token] = self._clock() + _LASTS
        return token

    def _answer(self, token: str) -> Mapping[str, object]:
        return {"access_token": token, "expires_in": int(self._ends[token] - self._clock())}
