"""A playbook written in Python, and the hooks that follow a conversation through it.

python examples/playbook_hooks.py
"""

from localvoice import (
    Hooks,
    KeywordCondition,
    LocalVoice,
    Playbook,
    PlaybookContext,
    Stage,
    Timing,
    Transition,
    TransitionAction,
)

PLAYBOOK = Playbook(
    id="front_desk",
    name="Front desk",
    global_system_prompt="You welcome whoever comes into an office. Answer in one short sentence.",
    initial_stage="welcome",
    stages=(
        Stage(id="welcome", name="Welcome", system_prompt="Ask whom they want to see."),
        Stage(id="parcel", name="A parcel", system_prompt="Ask them to put the parcel on the shelf."),
    ),
    transitions=(
        Transition(
            id="brings_a_parcel",
            from_stage="welcome",
            condition=KeywordCondition(keywords=("parcel", "package", "delivery")),
            action=TransitionAction(target_stage="parcel", transition_message="Ah, the post!"),
        ),
    ),
)


class Diary:
    """Notes how conversations go through the playbook. Its methods are the hooks."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_stage_enter(self, ctx: PlaybookContext, stage: str, previous: str | None) -> None:
        """The first stage has none before it."""
        self._note(f"{stage} begins" + (f", after {previous}" if previous else ""))

    def on_stage_exit(self, ctx: PlaybookContext, stage: str, next: str, timing: Timing) -> None:
        """How long the stage lasted is in `timing`."""
        self._note(f"{stage} ends after {timing.duration_ms / 1000:.1f} s")

    def on_transition(self, ctx: PlaybookContext, transition: str, from_stage: str, to_stage: str) -> None:
        """Between the end of one stage and the beginning of the next."""
        self._note(f"{transition}: {from_stage} -> {to_stage}")

    def on_playbook_turn_end(self, ctx: PlaybookContext, response: str, tool_call_count: int) -> None:
        """Each turn, in whatever stage."""
        self._note(f"turn {ctx.turn_count} in {ctx.stage_id}, {tool_call_count} calls: {response}")

    def on_playbook_complete(self, ctx: PlaybookContext, final_stage: str, total_turns: int) -> None:
        """No transition leads out of the stage that has begun."""
        self._note(f"complete in {final_stage}, in turn {total_turns}")

    def hooks(self) -> Hooks:
        """The five hooks of a playbook."""
        return Hooks(
            on_stage_enter=self.on_stage_enter,
            on_stage_exit=self.on_stage_exit,
            on_transition=self.on_transition,
            on_playbook_turn_end=self.on_playbook_turn_end,
            on_playbook_complete=self.on_playbook_complete,
        )

    def _note(self, line: str) -> None:
        self.lines.append(line)
        print(line)


def build(diary: Diary | None = None) -> LocalVoice:
    """The front desk; the playbook is checked when it starts."""
    return LocalVoice(playbook=PLAYBOOK, hooks=(diary or Diary()).hooks())


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
