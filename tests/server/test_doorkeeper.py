"""The token: a client that shows it comes in, and guessing it takes for ever."""

import pytest

from localvoice.server.doorkeeper import Doorkeeper, Verdict

TOKEN = "a token that nobody guesses"
SECRET = b"kept by the server alone"
HOME, AWAY = "192.168.1.77", "192.168.1.78"


def guess(door: Doorkeeper, client: str, now: float, token: str = "wrong") -> Verdict:
    return door.judge(client, token, None, now)


def test_the_token_and_its_cookie_open() -> None:
    door = Doorkeeper(TOKEN, SECRET)
    assert door.judge(HOME, TOKEN, None, 0) is Verdict.WELCOME
    assert door.judge(HOME, None, door.cookie, 0) is Verdict.WELCOME
    assert door.judge(HOME, TOKEN, "of yesterday", 0) is Verdict.WELCOME, "a link opens over an old cookie"
    assert Doorkeeper(TOKEN, SECRET).cookie == door.cookie, (
        "a token that is set outlives a restart, and so its cookie"
    )


def test_nothing_else_does() -> None:
    door = Doorkeeper(TOKEN, SECRET)
    assert door.judge(HOME, None, None, 0) is Verdict.MISSING
    for token in (
        "",
        TOKEN[:-1],
        TOKEN + " ",
        TOKEN.upper(),
        door.cookie,
        "\udcff",
        "ü",
        Doorkeeper("x", SECRET).cookie,
    ):
        assert Doorkeeper(TOKEN, SECRET).judge(HOME, token, None, 0) is Verdict.WRONG
    others = Doorkeeper("another token", SECRET), Doorkeeper(TOKEN, b"another server's")
    for cookie in ("", TOKEN, "\udcff", *(other.cookie for other in others)):
        assert Doorkeeper(TOKEN, SECRET).judge(HOME, None, cookie, 0) is Verdict.WRONG
    assert TOKEN not in door.cookie


def test_wrong_tokens_are_limited_to_a_few_a_second_for_each_address() -> None:
    door = Doorkeeper(TOKEN, SECRET)
    verdicts = [guess(door, HOME, 0) for _ in range(12)]
    assert verdicts == [Verdict.WRONG] * 10 + [Verdict.TOO_MANY] * 2
    assert guess(door, HOME, 0.1, TOKEN) is Verdict.TOO_MANY, "not even looked at"
    assert guess(door, AWAY, 0.1, TOKEN) is Verdict.WELCOME, "nobody else pays for it"
    later = [guess(door, HOME, 0.1 + tenth / 10) for tenth in range(100)]
    assert later.count(Verdict.WRONG) == pytest.approx(30, abs=1)
    assert guess(door, HOME, 20, TOKEN) is Verdict.WELCOME


def test_the_right_token_is_not_limited() -> None:
    door = Doorkeeper(TOKEN, SECRET)
    assert {guess(door, HOME, 0, TOKEN) for _ in range(1000)} == {Verdict.WELCOME}
    assert {door.judge(HOME, None, None, 0) for _ in range(1000)} == {Verdict.MISSING}, "and this is no guess"


def test_the_right_cookie_is_welcome_however_many_guess_from_its_address() -> None:
    """As behind a proxy or a tunnel, where all come from one address."""
    door = Doorkeeper(TOKEN, SECRET)
    for guessed in range(300):
        guess(door, HOME, guessed / 100)
        door.judge(HOME, None, "of yesterday", guessed / 100)
        for token in (None, TOKEN, "of yesterday's link"):
            assert door.judge(HOME, token, door.cookie, guessed / 100) is Verdict.WELCOME
    assert {guess(door, HOME, 3) for _ in range(10)} == {Verdict.WRONG, Verdict.TOO_MANY}, (
        "guesses are limited"
    )


def test_an_ipv6_client_cannot_take_another_of_its_addresses_for_more() -> None:
    door = Doorkeeper(TOKEN, SECRET)
    verdicts = [guess(door, f"2001:db8::{number:x}", 0) for number in range(12)]
    assert verdicts[-1] is Verdict.TOO_MANY
    assert guess(door, "2001:db8:0:1::1", 0) is Verdict.WRONG


def test_however_many_addresses_guess_it_remembers_a_bounded_number() -> None:
    door = Doorkeeper(TOKEN, SECRET)
    for number in range(3000):
        guess(door, f"10.0.{number // 256}.{number % 256}", 0)
    assert len(door._guesses) == 1024
