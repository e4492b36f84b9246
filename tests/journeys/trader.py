"""One trader of a journey: an account at the emulated exchange, a login, a broker account here, and a webhook."""

import itertools
import json
from decimal import Decimal
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from tests.emulator_process import EmulatorProcess
from tests.journeys.eventually import eventually
from tests.server_process import ADMIN, PASSWORD, ServerProcess

BALANCES = {"USDT": "100000"}
SYMBOL = "BTC/USDT"
PENDING = "pending"

_numbers = itertools.count(1)


class Trader:
    """Speaks to a server over HTTP as one logged-in user. `server` may be exchanged for another on the same database."""

    def __init__(self, server: ServerProcess, emulator: EmulatorProcess) -> None:
        number = next(_numbers)
        self.server = server
        self.emulator = emulator
        self.api_key = f"key-of-trader-{number}"
        self.api_secret = f"secret-of-trader-{number}"
        self.username = f"trader-{number}"
        self.password = f"a long sentence, number {number}"
        self.broker_id = ""
        self.hook_paths: list[str] = []
        self._http = httpx.Client(timeout=20, trust_env=False, verify=False)

    def log_in(self, username: str = ADMIN, password: str = PASSWORD) -> Self:
        """Log in for a bearer token."""
        token = self.call("POST", "/api/auth/login", json={"username": username, "password": password})["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        return self

    def sign_up(self) -> Self:
        """Make a user of one's own on a server that lets anyone do so, and log in."""
        self.call("POST", "/api/auth/register", json={"username": self.username, "password": self.password})
        return self.log_in(self.username, self.password)

    def set_up(self, *, hooks: int = 1) -> Self:
        """Open the account at the exchange, store its keys here, and make webhooks for it."""
        self.open_account()
        self.add_broker()
        for _ in range(hooks):
            self.add_webhook()
        return self

    def open_account(self) -> None:
        """Open the account at the exchange."""
        self.emulator.open_account(self.api_key, self.api_secret, BALANCES)

    def add_broker(self) -> str:
        """Store the account's keys here."""
        keys = {"api_key": self.api_key, "api_secret": self.api_secret}
        self.broker_id = self.call("POST", "/api/brokers", json={"exchange": "binance", "name": self.api_key, **keys})["id"]
        return self.broker_id

    def add_webhook(self) -> str:
        """Make a webhook for the account and return its id."""
        body = {"name": f"hook {len(self.hook_paths) + 1} of {self.api_key}", "broker_id": self.broker_id, "per_minute": 6000}
        made = self.call("POST", "/api/webhooks", json=body)
        self.hook_paths.append(urlsplit(made["url"]).path)
        return str(made["id"])

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Send one request and return its document; an error status fails."""
        answer = self._http.request(method, self.server.url + path, **request)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def knock(self, content: Any, *, hook: int = 0, content_type: str = "application/json") -> httpx.Response:
        """Send a body to a webhook, as a stranger would: without any login."""
        address = self.server.url + self.hook_paths[hook]
        return httpx.post(address, content=content, headers={"Content-Type": content_type}, timeout=20, trust_env=False, verify=False)

    def alert(self, *, hook: int = 0, **members: Any) -> str:
        """Send an alert that must be taken, and return its delivery's id."""
        answer = self.knock(json.dumps({"ticker": "BTCUSDT", "action": "buy", **members}), hook=hook)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["delivery_id"])

    def delivery(self, delivery_id: str) -> Any:
        """Return one line of the log."""
        return self.call("GET", f"/api/webhooks/deliveries/{delivery_id}")

    def deliveries(self) -> list[Any]:
        """Return the log, newest first."""
        return list(self.call("GET", "/api/webhooks/deliveries?limit=500")["items"])

    def decided(self, delivery_id: str, *, within_s: float = 10.0) -> Any:
        """Wait until a delivery is decided, and return it."""

        def ask() -> Any:
            found = self.delivery(delivery_id)
            return found if found["decision"] != PENDING else None

        return eventually(ask, f"delivery {delivery_id} is decided", within_s=within_s)

    def orders(self) -> list[Any]:
        """Return this server's orders, newest first."""
        return list(self.call("GET", "/api/orders?limit=500")["items"])

    def positions(self) -> list[Any]:
        """Return the open positions."""
        return list(self.call("GET", "/api/positions")["items"])

    def portfolio(self) -> Any:
        """Return the portfolio."""
        return self.call("GET", "/api/portfolio")

    def placed(self) -> list[Any]:
        """Return the account's orders as the exchange has them."""
        return [order for order in self.emulator.orders() if order["api_key"] == self.api_key]

    def venue_balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return free and locked of each asset that the account holds at the exchange."""
        (account,) = (found for found in self.emulator.state()["accounts"] if found["api_key"] == self.api_key)
        held = {line["asset"]: (Decimal(line["free"]), Decimal(line["locked"])) for line in account["balances"]}
        return {asset: amounts for asset, amounts in held.items() if any(amounts)}

    def shown_balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return free and locked of each asset as the portfolio shows them."""
        return {line["asset"]: (Decimal(line["free"]), Decimal(line["locked"])) for line in self.portfolio()["balances"]}
