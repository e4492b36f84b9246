"""A server that comes back where it was, as one behind a fixed address does; open pages find it again."""

import subprocess
import sys
import time
from typing import Self
from urllib.parse import urlsplit

from tests.server_process import ADMIN, PASSWORD, ServerProcess


class ReturningServer(ServerProcess):
    """The first start takes a free port, each further one the same port."""

    def start(self) -> Self:
        """Start it and wait until it is ready. Raises as ServerProcess."""
        if not self.url:
            return super().start()
        offset = self.log_path.stat().st_size
        command = [sys.executable, "-m", "app.cli", "serve", "--port", str(urlsplit(self.url).port)]
        environment = {"DATA_DIR": str(self._data_dir), "ADMIN_USER": ADMIN, "ADMIN_PASSWORD": PASSWORD} | self._settings
        with self.log_path.open("a") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)
        deadline = time.monotonic() + self._start_timeout_s
        while not self._is_ready(offset):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not come back: {self.log_path.read_text()[-3000:]}")
            time.sleep(0.05)
        return self
