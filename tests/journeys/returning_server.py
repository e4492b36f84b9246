"""A server that comes back where it was, as one behind a fixed address does; open pages find it again."""

from typing import Self
from urllib.parse import urlsplit

from tests.server_process import ServerProcess


class ReturningServer(ServerProcess):
    """The first start takes a free port, each further one the same port."""

    def start(self, *, port: int = 0) -> Self:
        """Start it and wait until it is ready. Raises as ServerProcess."""
        return super().start(port=urlsplit(self.url).port or port)
