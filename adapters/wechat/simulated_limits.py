"""What the simulated WeChat still lets an account say: windows and counts for each user, calls in a minute and a day.

developers.weixin.qq.com: .../api_sendcustommessage (5 messages within 48 h of a user's message; 3 within 1 min of a
menu click, a scan, following), .../custom/typing (30 s, 15 s), "接口调用频次限制" (45011, 45009).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW = 48 * 3600.0  # seconds after a user's message
_WINDOW_MESSAGES = 5
_EVENT_WINDOW = 60.0  # seconds after following, a menu click or a scan
_EVENT_MESSAGES = 3
_TYPING_AFTER = 30.0  # seconds since the user wrote
_TYPING_LASTS = 15.0
_DAY = 86_400.0


@dataclass(slots=True)
class _Window:
    opened: float
    seconds: float = _WINDOW
    left: int = _WINDOW_MESSAGES
    typing_until: float = 0.0


class Windows:
    """What each user may still get; each answer is an errcode, 0 for yes."""

    def __init__(self, clock: Callable[[], float], *, users: int) -> None:
        self._clock = clock
        self._users = users
        self._windows: dict[str, _Window] = {}
        self.blocked: set[str] = set()  # users on the account's block list

    def wrote(self, openid: str) -> None:
        """A user wrote: five messages within 48 h are allowed again."""
        self._open(openid, _Window(self._clock()))

    def acted(self, openid: str) -> None:
        """A user followed, scanned or clicked: three messages within a minute, unless more are allowed anyway."""
        window = self._windows.get(openid)
        if window is None or not window.left or self._clock() - window.opened > window.seconds:
            self._open(openid, _Window(self._clock(), _EVENT_WINDOW, _EVENT_MESSAGES))

    def left(self, openid: str) -> None:
        """A user does not follow the account any more."""
        if window := self._windows.get(openid):
            window.seconds = -1.0

    def send(self, openid: str) -> int:
        """Count one message to a user."""
        if openid in self.blocked:
            return 43019
        window = self._windows.get(openid)
        if window is None:
            return 40003
        if self._clock() - window.opened > window.seconds:
            return 45015
        if not window.left:
            return 45047
        window.left -= 1
        window.typing_until = 0.0
        return 0

    def type(self, openid: str, command: object) -> int:
        """Show a user the typing sign, or take it away."""
        window, now = self._windows.get(openid), self._clock()
        if window is None:
            return 40003
        if command == "CancelTyping":
            window.typing_until = 0.0
            return 0
        if command != "Typing":
            return 45072
        if now - window.opened > _TYPING_AFTER:
            return 45080
        if now < window.typing_until:
            return 45081
        window.typing_until = now + _TYPING_LASTS
        return 0

    def is_typing(self, openid: str) -> bool:
        """Whether a user sees the typing sign."""
        window = self._windows.get(openid)
        return window is not None and self._clock() < window.typing_until

    def _open(self, openid: str, window: _Window) -> None:
        self._windows.pop(openid, None)
        self._windows[openid] = window
        if len(self._windows) > self._users:
            del self._windows[next(iter(self._windows))]


class Calls:
    """Calls of one kind, limited in a minute and a day."""

    def __init__(self, clock: Callable[[], float], *, per_minute: int, per_day: int) -> None:
        self._clock = clock
        self.per_minute = per_minute
        self.per_day = per_day
        self._at: deque[float] = deque(maxlen=max(per_minute, 1))
        self._today = 0
        self._day = clock() // _DAY

    def refusal(self) -> int:
        """Count a call; the errcode when there were too many."""
        now = self._clock()
        if now // _DAY != self._day:
            self.clear()
        if self._today >= self.per_day:
            return 45009
        if len([at for at in self._at if now - at < 60.0]) >= self.per_minute:
            return 45011
        self._today += 1
        self._at.append(now)
        return 0

    def clear(self) -> None:
        """The day's count begins anew (midnight, or /cgi-bin/clear_quota)."""
        self._today, self._day = 0, self._clock() // _DAY
