import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.core.config import LogFormat
from app.core.logging import configure_logging, redact_text

SECRETS = [
    ("GET http://127.0.0.1/api/v3/order?symbol=BTCUSDT&timestamp=1&recvWindow=5000&signature=5f2a77", "5f2a77"),
    ("headers={'X-MBX-APIKEY': 'vmPUZE6mv9SD5VNH', 'Content-Type': 'x'}", "vmPUZE6mv9SD5VNH"),
    ('{"KC-API-KEY": "kc-key", "KC-API-PASSPHRASE": "kc-phrase"}', "kc-key"),
    ('{"KC-API-KEY": "kc-key", "KC-API-PASSPHRASE": "kc-phrase"}', "kc-phrase"),
    ("OK-ACCESS-SIGN: b2stc2lnbg==", "b2stc2lnbg"),
    ("apiKey=my-key-1", "my-key-1"),
    ("api_secret: my-secret-1", "my-secret-1"),
    ("'secretKey': 'my-secret-2'", "my-secret-2"),
    ("client-secret=my-secret-3", "my-secret-3"),
    ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
    ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("a token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl lies here", "c2lnbmF0dXJl"),
    ("POST /hooks/Zk3_secret-of-a-webhook-Q HTTP/1.1", "Zk3_secret-of-a-webhook-Q"),
    ("https://bot.example.org/hooks/Zk3_secret-of-a-webhook-Q", "Zk3_secret-of-a-webhook-Q"),
    ("postgresql://aristobot_app:p4ss@w0rd@127.0.0.1:5432/aristobot", "w0rd"),
    ("redis://:p4ssw0rd@127.0.0.1", "p4ssw0rd"),
    ('{"username": "ada", "password": "correct horse battery"}', "horse"),
    ("password=hunter2", "hunter2"),
    ("passphrase = 'one two'", "two"),
    ("Cookie: sid=abcdefgh; lang=fr", "abcdefgh"),
    ("__Host-sid=abcdefgh", "abcdefgh"),
    ("X-CSRF-Token: 0a1b2c", "0a1b2c"),
    ("No auth for sk-or-v1-0a1b2c3d4e5f6a7b8c9d at the provider", "0a1b2c3d4e5f"),
    ("stored gAAAAABmZm9vYmFyYmF6cXV4cXV1eA== in a row", "ZmZm9vYmFy"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secret_is_taken_out_of_text(text: str, secret: str) -> None:
    assert secret not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 01a1 is filled at 60000",
        "the name or the password is wrong",
        "http://127.0.0.1:8000/api/orders?limit=5",
        "BTC/USDT: the smallest quantity is 0.00001 BTC, was 0",
        "2026-05-01T12:00:00Z",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact_text(text) == text


@contextmanager
def logging_to(path: Path, fmt: LogFormat, *, level: str = "DEBUG") -> Iterator[Path]:
    """Log as the server does; the logging of the run is put back afterwards."""
    root = logging.getLogger()
    handlers, before, ours = root.handlers[:], root.level, structlog.get_config()
    configure_logging(level=level, fmt=fmt, file=path)
    structlog.configure(cache_logger_on_first_use=False)
    yield path
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(before)
    structlog.configure(**ours)


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Everything that is logged, as JSON lines."""
    with logging_to(tmp_path / "logs" / "server.log", LogFormat.JSON) as path:
        yield path


def failing(text: str) -> None:
    raise ConnectionError(text)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_secret_is_hidden_by_the_name_of_its_field_however_deep(log_file: Path) -> None:
    structlog.get_logger("t").info(
        "connected",
        api_key="k-1",
        password="p-1",
        X_signature="s-1",
        given={"apiSecret": "s-2", "deep": [{"token": "t-1", "name": "shown"}]},
        symbol="BTC/USDT",
        count=3,
    )
    text = log_file.read_text()
    for secret in ("k-1", "p-1", "s-1", "s-2", "t-1"):
        assert secret not in text
    (line,) = lines(log_file)
    assert (line["symbol"], line["count"], line["api_key"], line["given"]["deep"][0]["name"]) == ("BTC/USDT", 3, "[hidden]", "shown")
    assert (line["event"], line["level"], line["logger"]) == ("connected", "info", "t")


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secret_does_not_come_out_on_any_road(log_file: Path, text: str, secret: str) -> None:
    structlog.get_logger("ours").info(text, detail=text, listed=[text], error=ValueError(text), raw=text.encode())
    logging.getLogger("theirs").warning("said %s", text)
    logging.getLogger("theirs").warning(text, extra={"more": text})
    for name in ("ours", "theirs"):
        try:
            failing(text)
        except ConnectionError:
            logger = structlog.get_logger(name) if name == "ours" else logging.getLogger(name)
            logger.exception("failed")
    written = lines(log_file)
    assert len(written) == 5
    assert sum("ConnectionError" in line.get("exception", "") for line in written) == 2
    assert secret not in log_file.read_text()


def test_nobody_can_write_log_lines_of_their_own(log_file: Path) -> None:
    structlog.get_logger("t").info("unknown address", address="a\nERROR all is lost\r\x1b[31m", agent="b\x00\x07")
    logging.getLogger("t").warning("from %s", "x\ny")
    written = log_file.read_text().splitlines()
    assert len(written) == 2
    line = json.loads(written[0])
    assert line["address"] == "a ERROR all is lost  [31m"
    assert line["agent"] == "b  "
    assert json.loads(written[1])["event"] == "from x y"


def test_loggers_that_print_keys_are_kept_quiet(log_file: Path) -> None:
    for name in ("ccxt.base.exchange", "aiohttp.access", "uvicorn.access", "websockets", "httpx", "openai", "openai._base_client"):
        logging.getLogger(name).debug("signed request")
        logging.getLogger(name).info("GET /hooks/abc")
    assert log_file.read_text() == ""


def test_level_is_respected_and_console_lines_are_redacted(tmp_path: Path) -> None:
    with logging_to(tmp_path / "console.log", LogFormat.CONSOLE, level="WARNING") as path:
        structlog.get_logger("t").info("not this")
        structlog.get_logger("t").warning("this", api_key="k-1")
        try:
            failing("signature=5f2a77")
        except ConnectionError:
            structlog.get_logger("t").exception("failed")
    text = path.read_text()
    assert "not this" not in text
    assert "this" in text
    assert "ConnectionError" in text
    assert "k-1" not in text
    assert "5f2a77" not in text
