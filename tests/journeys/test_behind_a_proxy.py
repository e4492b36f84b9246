"""Who is asking, behind a proxy and without one: an address is believed from whom the administrator named, and from nobody else."""

from typing import Any

import httpx
import pytest

from tests.emulator_process import EmulatorProcess
from tests.journeys.conftest import StartServer
from tests.server_process import ADMIN, PASSWORD, ServerProcess

STRANGER = "203.0.113.9"
CUSTOMER = "198.51.100.7"


def log_in(server: ServerProcess, name: str, password: str, **headers: str) -> httpx.Response:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.post(
        f"{server.url}/api/auth/login", json={"username": name, "password": password}, headers=given, timeout=20, trust_env=False
    )


def addresses_of(server: ServerProcess, **headers: str) -> list[str]:
    """From where the administrator's logins came, as the audit log and the list of sessions have it, the newest first."""
    answer = log_in(server, ADMIN, PASSWORD, **headers)
    assert answer.status_code == 200, answer.text
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def items(path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{server.url}{path}", headers=bearer, timeout=20, trust_env=False).json()["items"]
        return found

    entry = items("/api/account/audit?action=login")[0]
    session = next(found for found in items("/api/auth/sessions") if found["is_current"])
    return [entry["ip_address"], session["ip_address"]]


def test_without_a_named_proxy_nobody_says_where_they_come_from(start_server: StartServer, paused_market: EmulatorProcess) -> None:
    server = start_server(paused_market)
    for headers in ({"X_Forwarded_For": CUSTOMER}, {"Forwarded": f"for={CUSTOMER}"}, {"X_Real_IP": CUSTOMER}):
        assert addresses_of(server, **headers) == ["127.0.0.1", "127.0.0.1"]
    page = httpx.get(f"{server.url}/login", headers={"X-Forwarded-Proto": "https"}, timeout=20, trust_env=False)
    assert "strict-transport-security" not in page.headers


def test_a_proxy_that_is_not_the_named_one_is_not_believed(start_server: StartServer, paused_market: EmulatorProcess) -> None:
    server = start_server(paused_market, trusted_proxies="192.0.2.1,10.0.0.0/8")
    assert addresses_of(server, X_Forwarded_For=CUSTOMER) == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize("host", ["::", pytest.param("127.0.0.1", marks=pytest.mark.full)])
def test_the_named_proxy_is_believed_and_what_its_client_claims_is_not(
    start_server: StartServer, paused_market: EmulatorProcess, host: str
) -> None:
    server = start_server(paused_market, trusted_proxies="127.0.0.1", host=host)
    server.url = f"http://127.0.0.1:{server.url.rpartition(':')[2]}"
    assert addresses_of(server, X_Forwarded_For=CUSTOMER) == [CUSTOMER, CUSTOMER]
    assert addresses_of(server, X_Forwarded_For=f"{STRANGER}, {CUSTOMER}") == [CUSTOMER, CUSTOMER]
    assert addresses_of(server) == ["127.0.0.1", "127.0.0.1"]

    # Logins that go wrong are counted against the client, not against the proxy through which everybody comes.
    tried = [log_in(server, f"nobody{number}", "a wrong password", X_Forwarded_For=STRANGER).status_code for number in range(22)]
    assert tried[-1] == 429
    forged = log_in(server, "nobody", "a wrong password", X_Forwarded_For=f"{CUSTOMER}, {STRANGER}")
    assert forged.status_code == 429
    assert log_in(server, "nobody", "a wrong password", X_Forwarded_For=CUSTOMER).status_code == 401

    secure = {"X-Forwarded-Proto": "https", "X-Forwarded-For": CUSTOMER}
    page = httpx.post(f"{server.url}/login", data={"username": ADMIN, "password": PASSWORD}, headers=secure, timeout=20, trust_env=False)
    (cookie,) = page.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-sid=")
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert page.headers["strict-transport-security"] == "max-age=31536000"
