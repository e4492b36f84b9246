"""Structured logs, to the console or a file, with every secret taken out on the way."""

import logging
import logging.handlers
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

from app.core.config import LogFormat

_HIDDEN = "[hidden]"
_SECRET_NAMES = re.compile(
    r"secret|token|api[-_]?key|apikey|passw|passphrase|signature|authorization|cookie|fernet|credential|X-MBX-APIKEY|KC-API|OK-ACCESS",
    re.IGNORECASE,
)
_SECRET_TEXT = (
    re.compile(
        r"(?i)((?:signature|api[-_]?key|secret|token|passw|passphrase|authorization|cookie|\bsid\b|x-mbx-apikey|kc-api-|ok-access-)"
        r"[\w-]{0,40}[\"']?\s{0,3}[=:]\s{0,3})(?:\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic)\s+)?[^\s\"'&,;}]+)"
    ),
    re.compile(r"(/hooks/)[A-Za-z0-9_-]{8,}"),
    re.compile(r"(://[^:/@\s]{0,100}:)[^\s\"']{1,300}(?=@)"),
    re.compile(r"()\beyJ[\w-]+\.[\w-]+\.[\w-]+"),
    re.compile(r"()gAAAA[\w=-]{20,}"),
    re.compile(r"()\barb_[0-9a-f]{32}_[\w-]+"),
    re.compile(r"()\bsk-[\w-]{16,}"),
)
# They print request URLs, keys, signatures or prompts at DEBUG, or a line per request with the webhook's secret in its path.
_SILENT = (
    "ccxt", "ccxt.base.exchange", "aiohttp.access", "uvicorn.access", "websockets", "httpx", "httpcore", "httpx2", "httpcore2", "openai",
    "asyncio",
)  # fmt: skip
# A line break or an escape in somebody's text would let them write log lines of their own.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def redact_text(text: str) -> str:
    """Return `text` without the secrets that can be recognised by what stands before them."""
    for pattern in _SECRET_TEXT:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return text


def _clean(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name):
        return _HIDDEN
    if isinstance(value, str):
        cleaned = redact_text(value)
        return cleaned if name == "exception" else _CONTROL.sub(" ", cleaned.replace("\n", " "))
    if isinstance(value, MutableMapping):
        return {key: _clean(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(name, item) for item in value]
    if isinstance(value, int | float | bool) or value is None:
        return value
    return redact_text(str(value))


def _redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _clean(name, value) for name, value in event.items()}


def configure_logging(*, level: str, fmt: LogFormat, file: Path | None = None) -> None:
    """Send all logs, the standard library's too, through one chain that redacts before it renders."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        _redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if fmt is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared[:4], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared[:5],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info, _redact, renderer],
    )
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.handlers.RotatingFileHandler(file, maxBytes=20_000_000, backupCount=5))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.WARNING)
