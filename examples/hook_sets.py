"""Several sets of hooks in one: an application's own, and a ready-made one.

python examples/hook_sets.py
"""

import logging
from collections import Counter

from localvoice import Hooks, LlmResult, LocalVoice, Timing, TurnContext, timing_hooks

LETTERS: Counter[str] = Counter()
"""That the LLM has written, by session."""
TURNS: Counter[str] = Counter()


def _count_letters(ctx: TurnContext, result: LlmResult, timing: Timing) -> None:
    LETTERS[ctx.session_id] += len(result.text)


def _count_turn(ctx: TurnContext, timing: Timing) -> None:
    TURNS[ctx.session_id] += 1
    print(f"{LETTERS[ctx.session_id] / TURNS[ctx.session_id]:.0f} letters a turn")


COUNTING = Hooks(on_llm_end=_count_letters, on_turn_end=_count_turn)


def build() -> LocalVoice:
    """The agent, with two sets: where both have a hook, both are called, in the order of the sets.

    Every agent has `logging_hooks` already: each event at DEBUG, failures at ERROR. `timing_hooks` logs what
    has taken time at INFO. `verbose_hooks` and `error_hooks` are the others. None of them logs what was said,
    unless it is made with `payloads=True`.
    """
    return LocalVoice(hooks=Hooks.combine(COUNTING, timing_hooks()))


def main() -> None:
    """Serve until Ctrl-C, with the log on the terminal."""
    logging.basicConfig(level=logging.INFO)
    build().run()


if __name__ == "__main__":
    main()
