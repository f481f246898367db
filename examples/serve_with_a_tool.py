"""A voice agent in the browser that can look something up.

python examples/serve_with_a_tool.py
"""

from typing import Annotated, Literal

from pydantic import Field

from localvoice import LocalVoice, ToolError, load_settings, tool

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

HOURS: dict[str, str] = {
    "tuesday": "from ten to six",
    "wednesday": "from ten to six",
    "thursday": "from ten to eight",
    "friday": "from ten to six",
    "saturday": "from ten to two",
}


@tool
def opening_hours(day: Annotated[Day, Field(description="Day of the week")]) -> str:
    """Tell when the shop is open on a day of the week."""
    if day not in HOURS:
        raise ToolError(f"the shop is closed on {day}")  # the LLM reads it, and says so in its own words
    return HOURS[day]


def build() -> LocalVoice:
    """The agent: settings from the file and the environment, one of its own, and the tool."""
    settings = load_settings(
        agent={"system_prompt": "You answer the phone of a bicycle shop, in one or two short sentences."}
    )
    return LocalVoice(settings, tools=[opening_hours])


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
