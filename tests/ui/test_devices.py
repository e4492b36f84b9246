import pytest

from app.ui.devices import device_of

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {_WEBKIT} Chrome/156.0.0.0 Safari/537.36", "Chrome 156, Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0", "Edge 156, Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14.5; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox 145, macOS"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1",
            "Safari 18, iPhone",
        ),
        (f"Mozilla/5.0 (Linux; Android 15) {_WEBKIT} Chrome/156.0.0.0 Mobile Safari/537.36", "Chrome 156, Android"),
        ("python-httpx/0.28.1", "python-httpx/0.28.1"),
        ("x" * 300, "x" * 40),
        ("", ""),
        (None, ""),
    ],
)
def test_a_device_has_a_name_that_its_owner_recognises(user_agent: str | None, name: str) -> None:
    assert device_of(user_agent) == name
