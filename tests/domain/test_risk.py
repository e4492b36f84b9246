import itertools
from uuid import UUID

import pytest

from app.domain.enums import Role, TradingState
from app.domain.risk import Scope, lets_pass, refusal, strictest
from app.errors import DenialReason

STATES = list(TradingState)
CASES = [(role, lowers) for role in Role for lowers in (False, True)]
#: The table of the module's docstring, cell by cell: entry, entry that lowers, exit, target, stop, flatten.
TABLE = {
    TradingState.ACTIVE: (True, True, True, True, True, True),
    TradingState.REDUCING: (False, True, True, True, True, True),
    TradingState.RECONCILING: (False, False, True, True, True, True),
    TradingState.HALTED: (False, False, False, True, True, True),
}
USERS = (UUID(int=1), UUID(int=2))
COLUMNS = ((Role.ENTRY, False), (Role.ENTRY, True), (Role.EXIT, False), (Role.TARGET, False), (Role.STOP, False), (Role.FLATTEN, False))


@pytest.mark.parametrize("state", STATES)
def test_each_state_lets_pass_what_the_table_says(state: TradingState) -> None:
    assert tuple(lets_pass(state, role, lowers=lowers) for role, lowers in COLUMNS) == TABLE[state]


def test_a_stricter_state_never_lets_more_pass() -> None:
    for role, lowers in CASES:
        passing = [lets_pass(state, role, lowers=lowers) for state in STATES]
        assert passing == sorted(passing, reverse=True), (role, lowers)


def test_the_strictest_of_several_states_decides_for_all_of_them() -> None:
    for count in (1, 2, 3):
        for states in itertools.combinations_with_replacement(STATES, count):
            for role, lowers in CASES:
                together = all(lets_pass(state, role, lowers=lowers) for state in states)
                assert lets_pass(strictest(states), role, lowers=lowers) is together


def test_nothing_restrains_where_no_state_is_set() -> None:
    assert strictest([]) is TradingState.ACTIVE


def test_what_guards_a_position_and_the_way_out_pass_in_every_state() -> None:
    for state in STATES:
        assert all(lets_pass(state, role, lowers=False) for role in (Role.STOP, Role.TARGET, Role.FLATTEN))


def test_a_refusal_names_the_state_and_the_reason() -> None:
    code, sentence = refusal(TradingState.HALTED, "you stopped trading")
    assert code is DenialReason.TRADING_HALTED
    assert sentence == "trading is halted and nothing was sent: you stopped trading"
    assert {refusal(state, "x")[0] for state in STATES[1:]} == {
        DenialReason.TRADING_HALTED,
        DenialReason.TRADING_REDUCING,
        DenialReason.TRADING_RECONCILING,
    }


def test_a_scope_of_one_user_is_no_other_users() -> None:
    ada, eve = (Scope.symbol("BTC/USDT", user) for user in USERS)
    assert ada.key != eve.key
    assert (ada.name, Scope.user(USERS[0]).name) == ("BTC/USDT", str(USERS[0]))
    assert Scope.platform().user_id is None
