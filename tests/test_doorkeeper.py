"""The token: who shows it comes in, and guessing it takes for ever."""

import pytest

from localvoice.server.doorkeeper import Doorkeeper, Verdict

TOKEN = "a token that nobody guesses"
HOME, AWAY = "192.168.1.77", "192.168.1.78"


def guess(door: Doorkeeper, client: str, now: float, token: str = "wrong") -> Verdict:
    return door.judge(client, token, None, now)


def test_the_token_and_its_cookie_open() -> None:
    door = Doorkeeper(TOKEN)
    assert door.judge(HOME, TOKEN, None, 0) is Verdict.WELCOME
    assert door.judge(HOME, None, door.cookie, 0) is Verdict.WELCOME
    assert door.judge(HOME, TOKEN, "of yesterday", 0) is Verdict.WELCOME, "a link opens over an old cookie"
    assert Doorkeeper(TOKEN).cookie == door.cookie, (
        "a token that is set outlives a restart, and so its cookie"
    )


def test_nothing_else_does() -> None:
    door = Doorkeeper(TOKEN)
    assert door.judge(HOME, None, None, 0) is Verdict.MISSING
    for token in (
        "",
        TOKEN[:-1],
        TOKEN + " ",
        TOKEN.upper(),
        door.cookie,
        "\udcff",
        "ü",
        Doorkeeper("x").cookie,
    ):
        assert Doorkeeper(TOKEN).judge(HOME, token, None, 0) is Verdict.WRONG
    for cookie in ("", TOKEN, "\udcff", Doorkeeper("another token").cookie):
        assert Doorkeeper(TOKEN).judge(HOME, None, cookie, 0) is Verdict.WRONG
    assert door.judge(HOME, "wrong", door.cookie, 0) is Verdict.WRONG, "the token is what counts"
    assert TOKEN not in door.cookie


def test_wrong_tokens_are_limited_to_a_few_a_second_for_each_address() -> None:
    door = Doorkeeper(TOKEN)
    verdicts = [guess(door, HOME, 0) for _ in range(12)]
    assert verdicts == [Verdict.WRONG] * 10 + [Verdict.TOO_MANY] * 2
    assert guess(door, HOME, 0.1, TOKEN) is Verdict.TOO_MANY, "not even looked at"
    assert guess(door, AWAY, 0.1, TOKEN) is Verdict.WELCOME, "nobody else pays for it"
    later = [guess(door, HOME, 0.1 + tenth / 10) for tenth in range(100)]
    assert later.count(Verdict.WRONG) == pytest.approx(30, abs=1)
    assert guess(door, HOME, 20, TOKEN) is Verdict.WELCOME


def test_the_right_token_is_not_limited() -> None:
    door = Doorkeeper(TOKEN)
    assert {guess(door, HOME, 0, TOKEN) for _ in range(1000)} == {Verdict.WELCOME}
    assert {door.judge(HOME, None, None, 0) for _ in range(1000)} == {Verdict.MISSING}, "and this is no guess"


def test_an_ipv6_client_cannot_take_another_of_its_addresses_for_more() -> None:
    door = Doorkeeper(TOKEN)
    verdicts = [guess(door, f"2001:db8::{number:x}", 0) for number in range(12)]
    assert verdicts[-1] is Verdict.TOO_MANY
    assert guess(door, "2001:db8:0:1::1", 0) is Verdict.WRONG


def test_however_many_addresses_guess_it_remembers_a_bounded_number() -> None:
    door = Doorkeeper(TOKEN)
    for number in range(3000):
        guess(door, f"10.0.{number // 256}.{number % 256}", 0)
    assert len(door._guesses) == 1024
