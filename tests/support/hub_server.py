"""A stand-in for the Hugging Face hub: the calls that huggingface_hub makes, on a folder of models."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEXT = "89abcdef0123456789abcdef0123456789abcdef"


class HubServer:
    """Serves `models` (folder name with "--" for "/"), each at COMMIT; `gated` ids answer 403, `failing` file names
    break off. A folder beside a model's, named after it with "@NEXT", is its next commit and what `main` is then.
    """

    def __init__(self, models: Path) -> None:
        self.models, self.gated, self.failing, self.status = models, set[str](), set[str](), 0
        self.fetched: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                parts = self.path.split("?")[0].strip("/").split("/")
                if hub.status:
                    return self.answer(hub.status, b"{}")
                api = parts[:2] == ["api", "models"]
                repo, *rest = "/".join(parts[2:4] if api else parts[:2]), *parts[4 if api else 2 :]
                folder, commit = hub.at(repo, rest[1] if len(rest) > 1 else "main")
                if repo in hub.gated:
                    return self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
                if not folder.is_dir():
                    return self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
                if commit is None:
                    return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                if api and parts[4:5] == ["tree"]:
                    return self.answer(200, json.dumps(hub.tree(folder)).encode())
                if api:
                    siblings = [{"rfilename": entry["path"]} for entry in hub.tree(folder)]
                    info = {"id": repo, "sha": commit, "siblings": siblings, "private": False, "tags": []}
                    return self.answer(200, json.dumps(info).encode())
                return self.file(folder / parts[-1], commit)

            def file(self, path: Path, commit: str) -> None:
                if not path.is_file():
                    return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                data = path.read_bytes()
                if self.command == "GET":
                    hub.fetched.append(path.name)
                headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}
                return self.answer(200, data, headers, cut=path.name in hub.failing)

            def answer(
                self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False
            ) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body[: len(body) // 2] if cut else body)
                if cut:
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def at(self, repo: str, revision: str) -> tuple[Path, str | None]:
        """The folder and the commit of a model's revision; no commit where there is none such."""
        folder = self.models / repo.replace("/", "--")
        after = folder.with_name(folder.name + "@NEXT")
        if revision in (NEXT, "main") and after.is_dir():
            return after, NEXT
        return folder, COMMIT if revision in (COMMIT, "main") else None

    def tree(self, folder: Path) -> list[dict[str, object]]:
        """The files of a model as the hub lists them."""
        return [
            {
                "type": "file",
                "path": path.name,
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in sorted(folder.iterdir())
            if path.is_file()
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering: from now on there is no network."""
        self._server.shutdown()
        self._server.server_close()
