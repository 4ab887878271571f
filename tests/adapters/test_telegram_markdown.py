"""What the model writes as Markdown arrives as Telegram's own formatting, whole, in as many messages as it takes."""

from __future__ import annotations

from adapters.telegram.channel import build, parts_of
from adapters.telegram.convert import TEXT_LIMIT
from adapters.telegram.simulator import TelegramSimulator
from core.types import ConversationKey, Delivery, Draft, ReplyKind
from tests.adapters.telegram_house import CUSTOMER, TOKEN, settings

KEY = ConversationKey("telegram", "support", str(CUSTOMER))
ADDRESS = {"chat_id": CUSTOMER, "chat_type": "private", "message_id": 1}


async def test_a_reply_grows_and_ends_with_entities_and_no_marks() -> None:
    text = "**注意：**请看 [物流页](https://example.com/a_(b)) 和 `code`，<order-id> <!channel>"
    async with TelegramSimulator(TOKEN) as telegram:
        channel = build("telegram", settings(telegram), public_url="")
        reference = ""
        try:
            for end in (5, 14, len(text) - 3):  # in the middle of marks, too
                draft = Draft(1, KEY, ADDRESS, text[:end], reference)
                reference = await channel.preview(draft) or reference
            await channel.deliver(Delivery(1, 1, KEY, ADDRESS, text, ReplyKind.ANSWER, reference=reference))
        finally:
            await channel.close()
        (message,) = [shown for shown in telegram.chats.read(CUSTOMER) if shown.by_bot]
        entities = telegram.calls[-1].parameters["entities"]
    assert message.text == "注意：请看 物流页 和 code，<order-id> <!channel>"
    assert isinstance(entities, list)
    kinds = {(entity["type"], entity["offset"], entity["length"]) for entity in entities}
    assert kinds == {("bold", 0, 3), ("text_link", 6, 3), ("code", 12, 4)}


def test_a_long_reply_with_a_fence_fits_in_every_part() -> None:
    text = "Intro.\n\n```python\n" + "print('x')\n" * 900 + "```\n\n**The end.**"
    parts = parts_of(text)
    assert len(parts) > 2
    assert all(part.count("```") == 2 for part in parts[1:-1])
    assert sum(part.count("print") for part in parts) == 900
    assert all(len(part) <= TEXT_LIMIT + 20 for part in parts)
