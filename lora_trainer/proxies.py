"""The proxies that environment variables name: one that fails must not be taken for what lies behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

_HTTP = ("http", "https")


@dataclass(frozen=True)
class Library:
    """What an HTTP library knows of SOCKS: the kinds of such proxies, and the package that it needs for them."""

    kinds: tuple[str, ...]
    package: str
    module: str

    def lacks_package(self) -> bool:
        """Whether the package is missing, or doesn't load."""
        try:
            import_module(self.module)
        except ImportError:
            return True
        return False


REQUESTS = Library(("socks5h", "socks5", "socks4a", "socks4"), "PySocks", "socks")
HTTPX = Library(("socks5h", "socks5"), "socksio", "socksio")


@dataclass(frozen=True)
class Proxy:
    """`variable` as it is set; `address` without the name and the password in it."""

    variable: str
    address: str

    @property
    def kind(self) -> str:
        """The scheme: http, https, socks5, …; without one it is http."""
        return self.address.partition("://")[0].lower() if "://" in self.address else "http"


def all_proxies() -> list[Proxy]:
    """Every proxy that is set, for whichever addresses."""
    names = (f"{scheme}_proxy" for scheme in (*_HTTP, "all"))
    return [proxy for name in names if (proxy := _proxy(name))]


def proxy_of(url: str) -> Proxy | None:
    """The proxy that stands before an address; none before one that is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return _proxy(f"{parts.scheme}_proxy") or _proxy("all_proxy")


def unusable(proxies: Sequence[Proxy | None], library: Library, url: str) -> tuple[str, dict[str, Any]] | None:
    """Text key and values for the first proxy that `library` can't use at all, on the way to `url`."""
    for proxy in proxies:
        if proxy is None or proxy.kind in _HTTP:
            continue
        values = {"variable": proxy.variable, "proxy": proxy.address, "url": url}
        if proxy.kind not in library.kinds:
            return "error.proxy.kind", {**values, "kinds": ", ".join((*_HTTP, *library.kinds))}
        if library.lacks_package():
            return "error.proxy.no_package", {**values, "package": library.package, "python": sys.executable}
    return None


def in_between(url: str, reason: str) -> tuple[str, dict[str, Any]] | None:
    """Text key and values for a connection to `url` that failed, where a proxy stands in between."""
    proxy = proxy_of(url)
    if proxy is None:
        return None
    values = {"variable": proxy.variable, "proxy": proxy.address, "url": url, "host": urlsplit(url).hostname}
    return "error.proxy.no_connection", {**values, "reason": reason}


def _proxy(name: str) -> Proxy | None:
    # in this order, as urllib and with it requests and httpx
    for variable in (name, name.upper()):
        if value := os.environ.get(variable, "").strip():
            scheme, found, rest = value.rpartition("://")
            return Proxy(variable, scheme + found + rest.rpartition("@")[2])
    return None
