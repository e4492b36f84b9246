"""Which new passwords are refused. Length is checked with the hash (`core.security`); here is what is long and still guessed first."""

from typing import Final

from app.errors import InvalidInput

#: Some of ten characters and more that every list of leaked passwords has near its top, put together by hand; shorter ones are refused by
#: their length.
_LEAKED: Final = """
1234567890 0123456789 0987654321 12345678910 123456789a 123456789q 1234567891 1q2w3e4r5t 1qaz2wsx3edc 1q2w3e4r5t6y qwertyuiop
qwerty12345 qwerty123456 qwertyuiop123 asdfghjkl1 asdfghjkl; zxcvbnm123 zxcvbnm1234 password12 password123 password1234 password12345
passw0rd123 p@ssw0rd123 p@ssword123 administrator adminadmin admin12345 admin123456 letmein123 iloveyou12 iloveyou123 welcome123
welcome1234 football12 baseball12 basketball superman123 princess12 sunshine12 liverpool1 manchester motherlode changeme123
trustno1trustno1 qazwsxedcrfv abcdefghij abcdefghijk abcd123456 abc1234567 aaaaaaaaaa 0000000000 1111111111 9999999999 1122334455
123123123123 123321123321 121212121212 bitcoin123 bitcoin1234 cryptocurrency tradingview tradingbot aristobot aristobot1 aristobot123
correcthorsebatterystaple testtest123 test123456 qwerqwer1234 asdfasdf1234 monkey123456 dragon12345 shadow12345 michael123 jennifer123
charlie123 starwars123 pokemon123 computer123 internet123 whatever123 christopher elizabeth1 alexander1
"""
_COMMON: Final = frozenset(_LEAKED.split())
_ROWS: Final = ("abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "qwertyuiopasdfghjklzxcvbnm", "azertyuiopqsdfghjklmwxcvbn")


def check_new_password(password: str, *, username: str) -> None:
    """Let a password pass that is not among the first guesses.

    Raises:
        InvalidInput: it is a common one, one character again and again, a row of keys, or the name.
    """
    folded = password.lower()
    is_row = any(folded in row or folded in row[::-1] for row in _ROWS)
    is_repeated = any(folded == (folded[:size] * len(folded))[: len(folded)] for size in range(1, 4))
    if folded in _COMMON or is_row or is_repeated or folded.replace(username.lower(), "") in ("", "1", "123", "1234", "!"):
        raise InvalidInput("this password is among the first that are guessed; a long sentence is a good one", field="password")
