"""Who sent a signed request, and when.

Source: Binance Spot API documentation, rest-api.md "SIGNED Endpoint security".
"""

import hashlib
import hmac
import re

from app.emulator.errors import VenueError

DEFAULT_RECV_WINDOW_MS = 5_000
MAX_RECV_WINDOW_MS = 60_000
MAX_AHEAD_MS = 1_000

_API_KEY = re.compile(r"[!-~]{1,128}")
_SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")


def sign(secret: str, payload: str) -> str:
    """Return the lower-case hex HMAC-SHA256 of `payload`, the percent-encoded query followed by the body."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def split_signature(query: str, body: str) -> tuple[str, str]:
    """Return (payload, signature) of a raw query string and a raw form body.

    Raises:
        VenueError: -1102, there is no signature.
    """
    parts, found = [query, body], ""
    for index, text in enumerate(parts):
        match = _SIGNATURE.search(text)
        if match is not None:
            parts[index] = (text[: match.start()] + text[match.end() :]).removeprefix("&")
            found = match[1]
    if not found:
        raise VenueError.mandatory("signature")
    return "".join(parts), found


def check_key_format(api_key: str | None) -> str:
    """Return the key of the X-MBX-APIKEY header.

    Raises:
        VenueError: -2014.
    """
    if api_key is None or _API_KEY.fullmatch(api_key) is None:
        raise VenueError(-2014, "API-key format invalid.", status=401)
    return api_key


def check_timestamp(params: dict[str, str], now_ms: int) -> None:
    """Refuse a request that comes from another time than `now_ms` (wall time).

    Raises:
        VenueError: -1021 outside the window, -1102 or -1130 for a malformed parameter.
    """
    timestamp = _integer(params, "timestamp")
    recv_window = _recv_window(params)
    if timestamp >= now_ms + MAX_AHEAD_MS:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - timestamp > recv_window:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")


def check_signature(secret: str, payload: str, signature: str) -> None:
    """Refuse a request that the holder of `secret` did not sign.

    Raises:
        VenueError: -1022.
    """
    if not hmac.compare_digest(sign(secret, payload).encode(), signature.lower().encode()):
        raise VenueError(-1022, "Signature for this request is not valid.")


def _integer(params: dict[str, str], name: str) -> int:
    text = params.get(name, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 16:
        raise VenueError.mandatory(name)
    return int(text)


def _recv_window(params: dict[str, str]) -> float:
    text = params.get("recvWindow")
    if text is None:
        return DEFAULT_RECV_WINDOW_MS
    if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) is None:
        raise VenueError(-1130, "Data sent for parameter 'recvWindow' is not valid.")
    window = float(text)
    if window > MAX_RECV_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000")
    return window
