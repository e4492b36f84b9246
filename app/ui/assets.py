"""Static files: read once, kept in memory with their gzip twin, served under a name that changes with the content.

One hash covers all files, so that a stylesheet's `url(../fonts/…)` and a module's `import "./format.js"` stay inside the version they were
written with: relative addresses need no rewriting, and there is nothing to build.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
_HASH_DIGITS = 8
_COMPRESS_FROM_BYTES = 1024
_TYPES = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
        ".woff2": "font/woff2",
    }
)
_COMPRESSED = frozenset({".css", ".js", ".mjs", ".svg", ".txt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file, ready to be sent; `gzipped` is None where compressing gains nothing."""

    content: bytes
    gzipped: bytes | None
    media_type: str
    etag: str


class Assets:
    """Every servable file below a folder. Files of other types (manifests, locks) are not served."""

    def __init__(self, root: Path) -> None:
        self._files = {
            path.relative_to(root).as_posix(): _load(path) for path in sorted(root.rglob("*")) if path.is_file() and path.suffix in _TYPES
        }
        whole = hashlib.sha256()
        for name, asset in self._files.items():
            whole.update(f"{name}\0{asset.etag}\0".encode())
        self.version = whole.hexdigest()[:_HASH_DIGITS]

    def url(self, path: str) -> str:
        """Return the address of a file, with the version in it.

        Raises:
            KeyError: there is no such file; a template's mistake.
        """
        if path not in self._files:
            raise KeyError(f"no static file is called {path}")
        return f"/static/{self.version}/{path}"

    async def serve(self, request: Request) -> Response:
        """Answer `/static/{path:path}`, with or without the version; immutable for a year only under the right one."""
        version, _, rest = str(request.path_params["path"]).partition("/")
        is_versioned = len(version) == _HASH_DIGITS and rest in self._files
        asset = self._files.get(rest if is_versioned else str(request.path_params["path"]))
        if asset is None:
            return Response(status_code=404)
        headers = {
            "Cache-Control": IMMUTABLE if is_versioned and version == self.version else REVALIDATE,
            "ETag": f'"{asset.etag}"',
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        if asset.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.gzipped, media_type=asset.media_type, headers={**headers, "Content-Encoding": "gzip"})
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def _load(path: Path) -> Asset:
    content = path.read_bytes()
    compress = path.suffix in _COMPRESSED and len(content) > _COMPRESS_FROM_BYTES
    return Asset(
        content=content,
        # mtime=0: the same file gives the same bytes on every machine.
        gzipped=gzip.compress(content, compresslevel=9, mtime=0) if compress else None,
        media_type=_TYPES[path.suffix],
        etag=hashlib.sha256(content).hexdigest()[:16],
    )
