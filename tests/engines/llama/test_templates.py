"""Chat templates that refuse, drop or need something: a conversation is told in a form that they take."""

import itertools
import logging

import pytest

from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines.llama.template import ChatTemplate
from localvoice.engines.llama.tool_prompt import Turn

EACH = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
OPENS = "{% if add_generation_prompt %}<assistant>{% endif %}"
PLAIN = EACH + OPENS
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system role.') }}{% endif %}"
STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate.') }}{% endif %}{% endfor %}"
)
DROPS_SYSTEM = EACH.replace("%}<", "%}{% if m.role != 'system' %}<").replace(
    "{% endfor %}", "{% endif %}{% endfor %}"
)
STRICT_BUT_SYSTEM = STRICT.replace("in messages", "in messages[(1 if messages[0].role == 'system' else 0):]")
LATE_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'user' and loop.last %}"
    "<user>{{ messages[0].content + ' ' if messages[0].role == 'system' }}{{ m.content }}</user>"
    "{% elif m.role != 'system' %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endif %}{% endfor %}"
)
NEEDS_USER = (
    "{% set seen = namespace(user=false) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set seen.user = true %}{% endif %}{% endfor %}"
    "{% if not seen.user %}{{ raise_exception('No user query found.') }}{% endif %}"
)
THINKS = (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% else %}<think>\n{% endif %}"
)

RULE: Turn = ("system", "Be short.")
ASKED: Turn = ("user", "Where am I?")
SAID: Turn = ("assistant", "In Rome.")
TALKS: list[list[Turn]] = [
    [RULE],
    [ASKED],
    [RULE, ASKED],
    [RULE, ASKED, SAID],
    [RULE, ASKED, SAID, ASKED],
    [RULE, SAID],
    [RULE, SAID, ASKED],
    [SAID, ASKED],
    [SAID],
    [RULE, ASKED, SAID, SAID, ASKED],  # as the tools' examples come before a conversation that it begins
]


def template(text: str) -> ChatTemplate:
    return ChatTemplate("tiny.gguf", text, bos="<bos>", eos="<eos>")


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: "-".join(role for role, _ in talk))
@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        NO_SYSTEM + STRICT + PLAIN,
        STRICT + PLAIN,
        STRICT_BUT_SYSTEM + PLAIN,
        DROPS_SYSTEM + OPENS,
        LATE_SYSTEM + OPENS,
        NEEDS_USER + PLAIN,
        NEEDS_USER + NO_SYSTEM + STRICT + PLAIN,
        PLAIN.replace("m.content", "m.content[0].text"),
        "",
    ],
    ids=[
        "plain",
        "no system",
        "strict",
        "strict but system",
        "drops",
        "late",
        "needs user",
        "all",
        "parts",
        "none",
    ],
)
def test_every_message_is_told_in_its_order_whatever_the_template_takes(text: str, talk: list[Turn]) -> None:
    prompt = template(text)(talk)
    at = 0
    for _, words in talk:
        at = prompt.index(words, at) + len(words)
    assert prompt.endswith(("<assistant>", "<|im_start|>assistant\n"))


def test_a_system_prompt_that_is_refused_or_dropped_begins_the_users_first_message() -> None:
    for text in (NO_SYSTEM + PLAIN, DROPS_SYSTEM + OPENS, LATE_SYSTEM + OPENS):
        assert template(text).folds_system
    prompt = template(NO_SYSTEM + STRICT + PLAIN)([RULE, ASKED, SAID, ASKED])
    assert prompt == (
        "<user>Be short.\n\nWhere am I?</user><assistant>In Rome.</assistant>"
        "<user>Where am I?</user><assistant>"
    )
    assert not template(PLAIN).folds_system
    assert template(PLAIN)([RULE, ASKED]).startswith("<system>Be short.</system>")


@pytest.mark.parametrize("text", [PLAIN, NO_SYSTEM + STRICT + PLAIN, LATE_SYSTEM + OPENS, NEEDS_USER + PLAIN])
def test_a_turn_begins_as_the_turn_before(text: str) -> None:
    """Or all that was read of it would have to be read again."""
    made = template(text)
    talk: list[Turn] = [RULE, *([ASKED, SAID] * 3)]
    turns = [made(talk[: 2 * turn]).removesuffix("<assistant>") for turn in (1, 2, 3)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(turns))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{- if .System }}{{ .System }}{{ end }}", "unexpected '.'"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "it leaves out what the user says"),
        ("{{ raise_exception('Not today.') }}", "Not today."),
    ],
)
def test_one_that_is_of_no_use_is_named_once_and_chatml_takes_its_place(
    text: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made = template(text)
        assert (
            made([ASKED])
            == made([ASKED])
            == "<|im_start|>user\nWhere am I?<|im_end|>\n<|im_start|>assistant\n"
        )
    (warning,) = caplog.messages
    assert "chat template of tiny.gguf can't be used" in warning and reason in warning and "ChatML" in warning


def test_a_failure_names_the_template_and_can_only_fail_again() -> None:
    made = template(
        "{% if messages[-1].content == 'Where am I?' %}{{ raise_exception('No.') }}{% endif %}" + PLAIN
    )
    with pytest.raises(
        VoiceError, match=r"chat template of tiny.gguf failed: No\. Choose another model"
    ) as caught:
        made([ASKED])
    assert caught.value.code is ErrorCode.LLM_ERROR and not caught.value.retryable


def test_the_model_is_told_not_to_reason_and_begins_with_the_answer() -> None:
    assert template(PLAIN + THINKS)([ASKED]).endswith("<assistant><think>\n\n</think>\n\n")
    opens = PLAIN.replace("<assistant>{% endif", "<assistant><think>\n{% endif")
    assert template(opens)([ASKED]).endswith("<assistant><think>\n\n</think>\n\n")
    channels = "{# <|channel|> #}" + PLAIN.replace("<assistant>{% endif", "<|start|>assistant{% endif")
    assert template(channels)([ASKED]).endswith("<|start|>assistant<|channel|>final<|message|>")
    without = channels.replace("<|channel|>", "")
    assert template(without)([ASKED]).endswith("<|start|>assistant")


def test_a_model_that_reasons_without_a_beginning_is_given_an_empty_one() -> None:
    made = template(PLAIN)
    made.close_reasoning("[THINK]", "[/THINK]")
    assert made([ASKED]).endswith("<assistant>[THINK]\n\n[/THINK]\n\n")
