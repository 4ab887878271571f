"""Counts what WeChat still lets us say: five customer-service messages within 48 hours of a user's message.

developers.weixin.qq.com, service/api/customer/message/api_sendcustommessage. A menu click, a scan and following open
smaller windows beside it (3 within a minute) whose sums WeChat does not state, so after one of them nothing is known
until the user writes; then WeChat's own answer (45047) decides. The same holds after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

MESSAGES = 5
_WINDOW = 48 * 3600.0  # seconds
_QUIET = 2.0  # seconds; the next part of a reply leaves sooner than that
_USERS = 20_000


@dataclass(slots=True)
class _Window:
    opened: float
    left: int
    spent_at: float = -inf


class Quota:
    """What is left for each user of one account. `timer` gives seconds that never jump back."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def wrote(self, user: str) -> None:
        """The user wrote: everything is allowed again."""
        self._keep(user, MESSAGES)

    def acted(self, user: str) -> None:
        """The user did something else, which may have opened another window."""
        self._windows.pop(user, None)

    def left(self, user: str) -> int | None:
        """How many messages the user may still get; None when that is not known."""
        window = self._windows.get(user)
        if window is None:
            return None
        return window.left if self._timer() - window.opened <= _WINDOW else 0

    def spend(self, user: str) -> None:
        """One was sent, or may have been."""
        if window := self._windows.get(user):
            window.left = max(0, window.left - 1)
            window.spent_at = self._timer()

    def quiet(self, user: str) -> bool:
        """Whether nothing was sent just now, so that no next part is about to follow."""
        window = self._windows.get(user)
        return window is None or self._timer() - window.spent_at > _QUIET

    def exhaust(self, user: str, asked: float) -> bool:
        """WeChat says that nothing is left; False when the user has written since we `asked` (by the timer)."""
        window = self._windows.get(user)
        if window is not None and window.opened > asked:
            return False
        self._keep(user, 0)
        return True

    def _keep(self, user: str, left: int) -> None:
        before = self._windows.get(user)
        self._windows[user] = _Window(self._timer(), left, before.spent_at if before else -inf)
        self._windows.move_to_end(user)
        if len(self._windows) > _USERS:
            self._windows.popitem(last=False)
