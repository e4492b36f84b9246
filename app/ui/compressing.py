"""Pages gzipped as they are made, so that a telephone far away loads a fifth of them.

A page holds a secret (the token against forged requests) beside words that a link can put there. Who could see the lengths of many answers
to links of their own might guess it sign by sign, since what repeats is shorter (BREACH). So each answer is made longer by chance: by a
name in gzip's header that nobody reads. Source: Paliwal, Lindell, Nissim, Klein: Heal the Breach (IEEE Access, 2022); Django does so too.
"""

import gzip
import io
import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

#: What is shorter fits into one packet anyway.
_SMALLEST: Final = 1400
#: Of nine; the next ones take twice the time for a twentieth less.
_LEVEL: Final = 3
_LONGEST_NAME: Final = 100


def html_page(request: Request, text: str, status: int, *, headers: dict[str, str]) -> Response:
    """Return a page as an answer, gzipped where the browser takes that. `headers` has a Vary."""
    headers = {**headers, "Vary": f"{headers['Vary']}, Accept-Encoding"}
    content = text.encode()
    if len(content) < _SMALLEST or "gzip" not in request.headers.get("accept-encoding", ""):
        return HTMLResponse(content, status, headers=headers)
    return HTMLResponse(_gzipped(content), status, headers=headers | {"Content-Encoding": "gzip"})


def _gzipped(content: bytes) -> bytes:
    target = io.BytesIO()
    name = "a" * (1 + secrets.randbelow(_LONGEST_NAME))
    with gzip.GzipFile(filename=name, mode="wb", compresslevel=_LEVEL, fileobj=target, mtime=0) as stream:
        stream.write(content)
    return target.getvalue()
