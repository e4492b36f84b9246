"""Pages are gzipped for those who take that, and no two answers need be of one length."""

import gzip

import pytest
from starlette.requests import Request

from app.ui.compressing import html_page

PAGE = "<p>" + "word " * 2000 + "é</p>"
HEADERS = {"Cache-Control": "no-store", "Vary": "HX-Request"}


def asking(encodings: str | None) -> Request:
    headers = [] if encodings is None else [(b"accept-encoding", encodings.encode())]
    return Request({"type": "http", "headers": headers})


def test_a_page_is_gzipped_for_who_takes_that_and_is_the_same_page() -> None:
    answer = html_page(asking("br, gzip"), PAGE, 200, headers=HEADERS)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "HX-Request, Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(answer.body) < len(PAGE) / 5
    assert gzip.decompress(bytes(answer.body)).decode() == PAGE


@pytest.mark.parametrize(("encodings", "text"), [(None, PAGE), ("br", PAGE), ("gzip", "<p>short</p>")])
def test_who_does_not_take_it_or_gains_nothing_gets_the_page_as_it_is(encodings: str | None, text: str) -> None:
    answer = html_page(asking(encodings), text, 404, headers=HEADERS)
    assert (answer.status_code, bytes(answer.body).decode(), answer.headers.get("content-encoding")) == (404, text, None)
    assert "Accept-Encoding" in answer.headers["vary"], "a cache must not give it to somebody else"


def test_the_length_of_a_page_says_nothing_for_certain_of_what_repeats_in_it() -> None:
    lengths = {len(html_page(asking("gzip"), PAGE, 200, headers=HEADERS).body) for _ in range(60)}
    assert len(lengths) > 20
