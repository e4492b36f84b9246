"""One request, read and authenticated."""

from dataclasses import dataclass

from app.emulator.ledger import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request's parameters. `received_ns` is the wall time at which its body had been read."""

    params: dict[str, str]
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCall(Call):
    """A request with a valid signature; `account` is who signed it."""

    account: Account
