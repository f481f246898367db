"""What was said and heard in a conversation, and how much of it the LLM is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

from localvoice.engines.protocols import ChatMessage


@dataclass
class History:
    """The messages of one conversation, oldest first, without the system prompt."""

    messages: list[ChatMessage] = field(default_factory=list)
    """All that was said by the user and heard by them."""
    _first_given: int = 0

    def add_user(self, text: str) -> None:
        """The user said this."""
        self.messages.append(ChatMessage("user", text))

    def add_assistant(self, text: str) -> None:
        """The user heard this."""
        self.messages.append(ChatMessage("assistant", text))

    def for_llm(
        self, system_prompt: str, limit: int, fits: Callable[[list[ChatMessage]], bool] = lambda _: True
    ) -> list[ChatMessage]:
        """The system prompt and at most `limit` messages of the past, beginning with one of the user's.

        Older ones are forgotten until the prompt `fits` the model's context, or only the latest is left.
        """
        self._forget(limit)
        while True:
            given = self.messages[self._first_given :]
            while given and given[0].role != "user":
                given = given[1:]
            prompt = [ChatMessage("system", system_prompt), *_merge_runs(given)]
            if len(given) <= 1 or fits(prompt):
                return prompt
            self._forget(len(given) - 1)

    def make_room(self, limit: int) -> None:
        """Between turns: forget now what the user's next message would push out."""
        self._forget(limit - 1)

    def _forget(self, limit: int) -> None:
        """When the limit is passed, half of the past goes at once.

        The LLM's cache holds as long as its prompt begins with the same words, so forgetting one message a
        turn would make it read all of them anew in each turn.
        """
        if len(self.messages) - self._first_given > limit:
            self._first_given = len(self.messages) - (limit + 1) // 2


def _merge_runs(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Join what one side said in a row (a reply that was never heard leaves two): templates want turns."""
    return [
        ChatMessage(role, " ".join(message.content for message in run))
        for role, run in groupby(messages, key=lambda message: message.role)
    ]
