"""Runs last: looks through everything that this run's servers have logged and its databases have held."""

import pytest

from tests import leaks


@pytest.mark.last
def test_no_secret_or_signature_was_logged_or_stored_by_any_test(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert list(leaks.leaks_in_files(tmp_path_factory.getbasetemp())) == []
    assert leaks.found_in_databases == []


def test_what_is_looked_for_is_found() -> None:
    signed = b"GET /api/v3/order?symbol=BTCUSDT&timestamp=1&signature=" + b"5f2a" * 16
    for text in (signed, b'"api_secret": "secret-of-trader-7"', b"X-MBX-APIKEY: abc"):
        assert leaks.SECRETS.search(text), text
    assert not leaks.SECRETS.search(b"signature=*** key ****")
