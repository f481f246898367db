"""The token: a client that shows it is admitted, and guessing it takes for ever."""

import pytest

from localvoice.server.security import AuthResult, TokenAuth

TOKEN = "a token that nobody guesses"
SECRET = b"kept by the server alone"
HOME, AWAY = "192.168.1.77", "192.168.1.78"


def guess(auth: TokenAuth, client: str, now: float, token: str = "wrong") -> AuthResult:
    return auth.check(client, token, None, now)


def test_the_token_and_its_cookie_open() -> None:
    auth = TokenAuth(TOKEN, SECRET)
    assert auth.check(HOME, TOKEN, None, 0) is AuthResult.VALID
    assert auth.check(HOME, None, auth.cookie, 0) is AuthResult.VALID
    assert auth.check(HOME, TOKEN, "of yesterday", 0) is AuthResult.VALID, "a link opens over an old cookie"
    assert TokenAuth(TOKEN, SECRET).cookie == auth.cookie, (
        "a token that is set outlives a restart, and so its cookie"
    )


def test_nothing_else_does() -> None:
    auth = TokenAuth(TOKEN, SECRET)
    assert auth.check(HOME, None, None, 0) is AuthResult.MISSING
    for token in (
        "",
        TOKEN[:-1],
        TOKEN + " ",
        TOKEN.upper(),
        auth.cookie,
        "\udcff",
        "ü",
        TokenAuth("x", SECRET).cookie,
    ):
        assert TokenAuth(TOKEN, SECRET).check(HOME, token, None, 0) is AuthResult.WRONG
    others = TokenAuth("another token", SECRET), TokenAuth(TOKEN, b"another server's")
    for cookie in ("", TOKEN, "\udcff", *(other.cookie for other in others)):
        assert TokenAuth(TOKEN, SECRET).check(HOME, None, cookie, 0) is AuthResult.WRONG
    assert TOKEN not in auth.cookie


def test_wrong_tokens_are_limited_to_a_few_a_second_for_each_address() -> None:
    auth = TokenAuth(TOKEN, SECRET)
    results = [guess(auth, HOME, 0) for _ in range(12)]
    assert results == [AuthResult.WRONG] * 10 + [AuthResult.TOO_MANY] * 2
    assert guess(auth, HOME, 0.1, TOKEN) is AuthResult.TOO_MANY, "not even looked at"
    assert guess(auth, AWAY, 0.1, TOKEN) is AuthResult.VALID, "nobody else pays for it"
    later = [guess(auth, HOME, 0.1 + tenth / 10) for tenth in range(100)]
    assert later.count(AuthResult.WRONG) == pytest.approx(30, abs=1)
    assert guess(auth, HOME, 20, TOKEN) is AuthResult.VALID


def test_the_right_token_is_not_limited() -> None:
    auth = TokenAuth(TOKEN, SECRET)
    assert {guess(auth, HOME, 0, TOKEN) for _ in range(1000)} == {AuthResult.VALID}
    assert {auth.check(HOME, None, None, 0) for _ in range(1000)} == {AuthResult.MISSING}, (
        "and this is no guess"
    )


def test_the_right_cookie_is_welcome_however_many_guess_from_its_address() -> None:
    """As behind a proxy or a tunnel, where all come from one address."""
    auth = TokenAuth(TOKEN, SECRET)
    for guessed in range(300):
        guess(auth, HOME, guessed / 100)
        auth.check(HOME, None, "of yesterday", guessed / 100)
        for token in (None, TOKEN, "of yesterday's link"):
            assert auth.check(HOME, token, auth.cookie, guessed / 100) is AuthResult.VALID
    assert {guess(auth, HOME, 3) for _ in range(10)} == {AuthResult.WRONG, AuthResult.TOO_MANY}, (
        "guesses are limited"
    )


def test_an_ipv6_client_cannot_take_another_of_its_addresses_for_more() -> None:
    auth = TokenAuth(TOKEN, SECRET)
    results = [guess(auth, f"2001:db8::{number:x}", 0) for number in range(12)]
    assert results[-1] is AuthResult.TOO_MANY
    assert guess(auth, "2001:db8:0:1::1", 0) is AuthResult.WRONG


def test_however_many_addresses_guess_it_remembers_a_bounded_number() -> None:
    auth = TokenAuth(TOKEN, SECRET)
    for number in range(3000):
        guess(auth, f"10.0.{number // 256}.{number % 256}", 0)
    assert len(auth._guesses) == 1024
