"""Where Ollama listens: OLLAMA_HOST read as Ollama itself reads it, and whose machine that is."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True)
class Host:
    """One server: `scheme` as written, `name` (address or hostname) without brackets, `port`, path `prefix`."""

    scheme: str
    name: str
    port: str
    prefix: str
    login: tuple[str, str] | None = None
    """User and password for a proxy that stands before Ollama; never part of `url`, and never shown."""

    @property
    def url(self) -> str:
        """The base of every API path, without a slash at the end."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        prefix = "/" + self.prefix.strip("/") if self.prefix.strip("/") else ""
        return f"{self.scheme}://{name}:{self.port}{prefix}"

    @property
    def is_here(self) -> bool:
        """Does the server run on this machine (loopback, localhost, our own name or address)?"""
        name, address = self.name.lower().rstrip("."), _address(self.name)
        if address:
            return address.is_loopback or str(address) in _own_addresses()
        return name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower()

    @property
    def is_near(self) -> bool:
        """Is no proxy to stand between us: this machine, a private network, names that only a local network knows?"""
        name, address = self.name.lower().rstrip("."), _address(self.name)
        if address:
            return not address.is_global or self.is_here
        return self.is_here or name.endswith((".local", ".internal"))


def parse_host(text: str | None) -> Host:
    """Read a value of OLLAMA_HOST (None or empty: 127.0.0.1:11434) by the rules of Ollama's envconfig.

    `user:password@` before the name, which Ollama's own client sends along, too, is for a proxy before it. Unlike a
    server, a client can't dial an empty or an unspecified address: these become loopback, as in Ollama's
    own desktop app.
    """
    scheme, found, rest = (text or "").strip().strip("\"'").strip().partition("://")
    default_port = "11434"
    if not found:
        scheme, rest = "http", scheme
        if rest == "ollama.com":
            scheme, rest = "https", "ollama.com:443"
    elif scheme in ("http", "https"):
        default_port = "80" if scheme == "http" else "443"
    authority, _, prefix = rest.partition("/")
    given, at, host_port = authority.rpartition("@")
    user, _, password = given.partition(":")
    login = (unquote(user), unquote(password)) if at else None
    split = _split_host_port(host_port)
    if split:
        name, port = split
    else:
        address = _address(host_port.strip("[]"))
        name, port = str(address or host_port or "127.0.0.1"), default_port
    # Go's ParseInt takes a sign, and so does the port of OLLAMA_HOST.
    if not re.fullmatch(r"[+-]?[0-9]+", port, re.ASCII) or not 0 <= int(port) <= 65535:
        port = default_port
    unspecified = _address(name)
    if not name:
        name = "127.0.0.1"
    elif unspecified and unspecified.is_unspecified:
        name = "127.0.0.1" if unspecified.version == 4 else "::1"
    return Host(scheme, name, str(int(port)), prefix, login)


def without_login(text: str) -> str:
    """A value of OLLAMA_HOST as it may be shown."""
    return re.sub(r"^(\s*[\"']?\s*(?:[a-z]+://)?)[^/@]*@", r"\1***@", text)


def _split_host_port(text: str) -> tuple[str, str] | None:
    """Split as Go's net.SplitHostPort does; None where that reports an error."""
    match = re.fullmatch(r"\[([^\[\]]*)\]:([^:\[\]]*)|([^:\[\]]*):([^:\[\]]*)", text, re.DOTALL)
    if not match:
        return None
    bracketed, port, bare, bare_port = match.groups()
    return (bracketed, port) if bracketed is not None else (bare, bare_port)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that `text` is; None for a hostname and, as in Go, for an address with a zone."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _own_addresses() -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()
