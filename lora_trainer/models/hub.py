"""Base models from the Hugging Face hub, a mirror of it, or ModelScope."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lora_trainer import proxies
from lora_trainer.errors import BaseModelError, UserError, as_disk_error
from lora_trainer.events import Listener, Progress, ignore
from lora_trainer.models.folder import LICENSES

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt", *LICENSES]
UNWANTED = ["*/*", "consolidated*", "*.fp16.safetensors", "pytorch_model*", "tf_model*", "flax_model*"]
"""No sub-folders (onnx, original, …) and no second copy of the weights."""
_CONFIGURATION: dict[str, Any] = {"allow_patterns": ["*config.json"], "ignore_patterns": ["*/*"]}


def download(
    repo: str, check: Callable[[Path], object], listener: Listener, revision: str | None = None
) -> tuple[Path, str]:
    """The folder of a hub model in the cache, and its commit; downloads what is missing.

    `revision` is a commit, which is taken from the cache where it is whole there; None takes what `main` is now.
    `check` gets the folder when only its configuration is there, and may refuse it before the weights are fetched.
    HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE mean what they mean everywhere. Raises BaseModelError for every
    way in which that can fail, ResourceError where the disk is full.
    """
    from huggingface_hub import snapshot_download

    endpoint = _endpoint()
    options: dict[str, Any] = {"endpoint": endpoint, "tqdm_class": _progress_bar(listener), "revision": revision}
    with _telling(repo, endpoint, revision):
        check(Path(snapshot_download(repo, **_CONFIGURATION, **options)))
        folder = Path(snapshot_download(repo, allow_patterns=WANTED, ignore_patterns=UNWANTED, **options))
    return folder, folder.name


def look_at(repo: str, check: Callable[[Path], object], revision: str | None = None) -> None:
    """Let `check` judge a hub model by its configuration, and keep nothing of it; raises as `download`."""
    from huggingface_hub import errors, snapshot_download

    endpoint = _endpoint()
    options: dict[str, Any] = {"endpoint": endpoint, "revision": revision, **_CONFIGURATION}
    with _telling(repo, endpoint, revision), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            found = snapshot_download(repo, local_files_only=True, **options)
        except (errors.LocalEntryNotFoundError, errors.IncompleteSnapshotError):
            found = snapshot_download(repo, local_dir=folder, tqdm_class=_progress_bar(ignore), **options)
        check(Path(found))


def _endpoint() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT


@contextmanager
def _telling(repo: str, endpoint: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise _told(error, repo, endpoint, revision) from error


def _told(error: Exception, repo: str, endpoint: str, revision: str | None) -> UserError:
    """What a failed download was, in the user's terms."""
    from huggingface_hub import constants, errors

    if disk := as_disk_error(error, constants.HF_HUB_CACHE):
        return disk
    # where the cache has nothing either, the hub's own answer is the cause
    cause: BaseException | None = error
    while isinstance(cause, errors.LocalEntryNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__
    response = getattr(cause, "response", None)
    status = getattr(response, "status_code", 0)
    values = {"repo": repo, "endpoint": endpoint}
    if isinstance(cause, errors.RevisionNotFoundError) and revision:
        return BaseModelError("error.base.gone", source=repo, was=revision[:12])
    if isinstance(cause, errors.GatedRepoError):
        return BaseModelError("error.base_model.gated", **values)
    if isinstance(cause, (errors.RepositoryNotFoundError, errors.HFValidationError)) or status == 404:
        return BaseModelError("error.base_model.not_found", **values)
    if isinstance(cause, errors.OfflineModeIsEnabled):
        variable = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
        return BaseModelError("error.base_model.offline", variable=variable, **values)
    if isinstance(error, errors.IncompleteSnapshotError):
        return BaseModelError("error.base_model.incomplete_download", **values)
    if isinstance(cause, errors.HfHubHTTPError) and status in (401, 403):
        return BaseModelError("error.base_model.denied", status=status, **values)
    if isinstance(cause, errors.HfHubHTTPError) and status and status != 407:
        return BaseModelError("error.base_model.mirror", status=status, **values)
    return _not_reached(cause, repo, endpoint)


def _not_reached(cause: BaseException | None, repo: str, endpoint: str) -> UserError:
    """What it was that came between us and the hub."""
    values = {"endpoint": endpoint, "repo": repo}
    reason = _reason(cause)
    # httpx makes its connections ready when it is first used, for every proxy that is named anywhere
    found = proxies.unusable(proxies.all_proxies(), proxies.HTTPX, endpoint)
    if found and isinstance(cause, (ImportError, ValueError)):
        return BaseModelError(found[0], **found[1])
    names = {kind.__name__ for kind in type(cause).__mro__ if kind.__module__.startswith("httpx")}
    if names & {"UnsupportedProtocol", "InvalidURL"}:
        return BaseModelError("error.base_model.endpoint", reason=reason, **values)
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return BaseModelError("error.base_model.certificate", reason=reason, **values)
    never_met = names & {"ConnectError", "ConnectTimeout", "ProxyError"} or "407" in reason
    if never_met and (found := proxies.in_between(endpoint, reason)):
        return BaseModelError(found[0], **found[1])
    if names or isinstance(cause, (ConnectionError, TimeoutError)):
        return BaseModelError("error.base_model.no_network", reason=reason, **values)
    return BaseModelError("error.base_model.download", reason=reason, **values)


def download_from_modelscope(repo: str) -> Path:
    """The folder of a ModelScope model, through the optional `modelscope` package.

    Raises BaseModelError where that isn't installed, or fails for whatever reason.
    """
    try:
        from modelscope import snapshot_download  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError as error:
        if error.name != "modelscope":
            values = {"repo": repo, "python": sys.executable, "reason": str(error)}
            raise BaseModelError("error.base_model.modelscope_broken", **values) from error
        raise BaseModelError("error.base_model.no_modelscope", repo=repo, python=sys.executable) from error
    try:
        return Path(snapshot_download(repo, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except Exception as error:  # the package documents no errors of its own
        if disk := as_disk_error(error, os.environ.get("MODELSCOPE_CACHE", "~/.cache/modelscope")):
            raise disk from error
        if found := proxies.unusable(proxies.all_proxies(), proxies.REQUESTS, "https://modelscope.cn"):
            raise BaseModelError(found[0], **found[1]) from error
        raise BaseModelError("error.base_model.modelscope", repo=repo, reason=_reason(error)) from error


def _reason(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _progress_bar(listener: Listener) -> type:
    """A tqdm that draws nothing and reports bytes as events."""
    from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

    class Bar(tqdm):  # type: ignore[type-arg, unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.unit == "B":
                listener(Progress("download", int(self.n), int(self.total or 0)))
            return shown

    return Bar
