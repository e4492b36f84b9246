"""What a venue's JSON says of an error: its code and its words, wherever that venue puts them. Pure.

Some say it in an answer of status 200.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

_Answer = Mapping[str, Any]
#: The code and the message of a refusal.
Refusal = tuple[str, str | None]
_NO_REASON: Final = frozenset({"", "UNKNOWN_FAILURE_REASON", "UNKNOWN_PREVIEW_FAILURE_REASON"})


def refusal_of(exchange: str, status: int, answer: object) -> Refusal | None:
    """Return the code and the words of an error, or None when the answer is none (or says nothing we can read)."""
    if not isinstance(answer, Mapping):
        return None
    return _READERS.get(exchange, _code_and_msg)(status, answer)


def is_alien(exchange: str, status: int, answer: object) -> bool:
    """Whether an answer of success is not one of this venue: a proxy's page, half a body. It must never be taken for "no such order"."""
    if status >= 400 or exchange not in _READERS:
        return False
    needed = _ALWAYS_THERE.get(exchange)
    if needed is None:
        return answer is None
    return not isinstance(answer, Mapping) or needed not in answer


#: The member that every answer of these venues has.
_ALWAYS_THERE: Final = {"kraken": "error", "kucoin": "code", "bitget": "code", "okx": "code", "bybit": "retCode"}


def _words(*candidates: object) -> str | None:
    return next((each for each in candidates if isinstance(each, str) and each), None)


def _code_and_msg(status: int, answer: _Answer) -> Refusal | None:
    code = answer.get("code")
    if code is None or (status < 400 and str(code) in ("0", "200")):
        return None
    return str(code), _words(answer.get("msg"), answer.get("message"))


def _kraken(status: int, answer: _Answer) -> Refusal | None:
    del status
    errors = answer.get("error")
    if not isinstance(errors, list) or not errors:
        return None
    first = str(errors[0])
    # `EOrder:Insufficient funds`; some add what was wrong with it after a second colon.
    code = next((known for known in _KRAKEN_FAMILIES if first.startswith(known)), first)
    return code, first.partition(":")[2] or first


_KRAKEN_FAMILIES: Final = ("EOrder:Insufficient funds", "EOrder:Unknown order", "EOrder:Rate limit exceeded", "EAPI:Rate limit exceeded")


def _coinbase(status: int, answer: _Answer) -> Refusal | None:
    refused = answer.get("error_response")
    if isinstance(refused, Mapping):
        reasons = (refused.get("preview_failure_reason"), refused.get("new_order_failure_reason"), refused.get("error"))
        named = next((str(reason) for reason in reasons if reason and str(reason) not in _NO_REASON), "UNKNOWN_FAILURE_REASON")
        return named, _words(refused.get("message"), refused.get("error_details"), named)
    results = answer.get("results")
    if isinstance(results, list) and results and isinstance(results[0], Mapping) and results[0].get("success") is False:
        return str(results[0].get("failure_reason")), _words(results[0].get("failure_reason"))
    if "error" in answer:
        return str(answer["error"]), _words(answer.get("message"), answer.get("error_details"), answer.get("error_description"))
    errors = answer.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        return str(errors[0].get("id")), _words(errors[0].get("message"))
    return None if status < 400 else _code_and_msg(status, answer)


def _succeeding_with(success: str) -> Callable[[int, _Answer], Refusal | None]:
    def read(status: int, answer: _Answer) -> Refusal | None:
        del status
        code = answer.get("code")
        return None if code is None or str(code) == success else (str(code), _words(answer.get("msg"), answer.get("message")))

    return read


def _okx(status: int, answer: _Answer) -> Refusal | None:
    del status
    # An algo order that was refused stands in an answer that is otherwise a success.
    for each in answer.get("data") or ():
        if isinstance(each, Mapping) and str(each.get("sCode") or "0") != "0":
            return str(each["sCode"]), _words(each.get("sMsg"))
    code = answer.get("code")
    return None if code is None or str(code) == "0" else (str(code), _words(answer.get("msg")))


def _bybit(status: int, answer: _Answer) -> Refusal | None:
    del status
    code = answer.get("retCode")
    return None if code is None or str(code) == "0" else (str(code), _words(answer.get("retMsg")))


def _gate(status: int, answer: _Answer) -> Refusal | None:
    del status
    label = answer.get("label")
    return None if label is None else (str(label), _words(answer.get("message"), answer.get("detail")))


_READERS: Final[dict[str, Callable[[int, _Answer], Refusal | None]]] = {
    "binance": _code_and_msg,
    "binanceus": _code_and_msg,
    "kraken": _kraken,
    "coinbase": _coinbase,
    "kucoin": _succeeding_with("200000"),
    "bitget": _succeeding_with("00000"),
    "okx": _okx,
    "bybit": _bybit,
    "gate": _gate,
    "mexc": _code_and_msg,
}
