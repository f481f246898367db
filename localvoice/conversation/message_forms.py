"""Messages of a conversation as the LLM can take them: merged, shortened, with words for pictures."""

from dataclasses import replace

from localvoice.engines.types import ChatMessage


def counts(message: ChatMessage) -> bool:
    """Whether it is a message of the user's, or one that they heard."""
    return message.role == "user" or (message.role == "assistant" and not message.tool_calls)


def in_words(message: ChatMessage) -> ChatMessage:
    """The message with words in place of its pictures."""
    if not message.images:
        return message
    pictures = (f"[Picture: {image.alt}]" if image.alt else "[Picture]" for image in message.images)
    return replace(message, content=" ".join((message.content, *pictures)), images=())


def shortened(message: ChatMessage, characters: int) -> ChatMessage:
    """The message, if it is a tool's answer, with so many characters at most."""
    if message.role != "tool" or len(message.content) <= characters:
        return message
    return replace(message, content=f"{message.content[:characters]}…")


def merge_runs(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Join what one side said in a row (a reply that was never heard leaves two): templates want turns.

    Tool calls and their answers stay apart; pictures stay with the words that they came with.
    """
    merged: list[ChatMessage] = []
    for message in messages:
        before = merged[-1] if merged else None
        if before and before.role == message.role and counts(before) and counts(message):
            content = f"{before.content} {message.content}"
            merged[-1] = replace(before, content=content, images=before.images + message.images)
        else:
            merged.append(message)
    return merged
