"""The way to the network that the environment describes: proxies, exceptions from them, certificates.

httpx reads the same variables, but fails on exceptions that other programs take (`[::1]`, `fd00::/8`), and
its errors don't name the variable.
"""

import os
import ssl
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
from httpx_socks import SyncProxyTransport
from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType

from localvoice.files import check_regular

_SOCKS: Final = ("socks5", "socks5h")
_SCHEMES: Final = ("http", "https", *_SOCKS)
_SOCKS_PORT: Final = 1080
_BUNDLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name certificates, in the order in which they count."""


def parsed(address: str, schemes: Collection[str] = ("http", "https")) -> httpx.URL | None:
    """The address; None if it is none, or of another scheme."""
    try:
        urlsplit(address)  # knows an unfinished IPv6 address, which httpx takes for a name
        url = httpx.URL(address)
    except (ValueError, httpx.InvalidURL):
        return None
    return url if url.scheme in schemes and url.host else None


class NetworkSettingError(Exception):
    """A variable or an option that can't be used; the message names it and says what to do."""


@dataclass(frozen=True)
class Proxy:
    """A proxy, and where its address was given."""

    given: str
    """The variable, such as HTTPS_PROXY."""
    address: httpx.URL
    """With user name and password, if there are any: never show it."""

    @classmethod
    def read(cls, given: str, address: str) -> Self:
        """Raises `NetworkSettingError` for an address that is none, or of a kind that isn't known."""
        # Desktops write socks:// for SOCKS 5; without any scheme it is HTTP, as for curl.
        address = address.strip()
        address = f"http://{address}" if "://" not in address else address
        address = f"socks5{address[5:]}" if address.startswith("socks:") else address
        if (url := parsed(address, _SCHEMES)) is None:
            raise NetworkSettingError(
                f"{given} is not the address of a proxy that can be used. Write it as http://HOST:PORT or "
                "socks5://HOST:PORT, or unset it."
            )
        return cls(given, url)


@dataclass(frozen=True)
class Network:
    """How hosts are reached."""

    proxies: Mapping[str, Proxy]
    """By scheme of the address that is asked for, and `all`."""
    is_direct: Callable[[httpx.URL], bool]
    """Whether this host is reached without a proxy all the same."""
    certificates: ssl.SSLContext
    """What servers are checked by."""

    @classmethod
    def read(cls, proxy: str | None = None, ca_file: str | None = None) -> Self:
        """From pip's settings where they are given, else from the environment.

        Raises `NetworkSettingError`.
        """
        if proxy:
            everything = {"all": Proxy.read("pip's proxy setting", proxy)}
            return cls(everything, lambda _: False, _certificates(ca_file))
        found = urllib.request.getproxies()  # of the environment; on macOS, else of the system
        schemes = [scheme for scheme in ("http", "https", "all") if found.get(scheme)]
        proxies = {scheme: Proxy.read(_variable(f"{scheme}_proxy"), found[scheme]) for scheme in schemes}
        return cls(proxies, _exceptions(found.get("no", "")), _certificates(ca_file))

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """The proxy that connects to this address; None where this machine does."""
        proxy = self.proxies.get(url.scheme) or self.proxies.get("all")
        return None if proxy is None or self.is_direct(url) else proxy


class Route(httpx.BaseTransport):
    """Sends each request the way that its host is reached."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._direct = httpx.HTTPTransport(verify=network.certificates, trust_env=False)
        self._by_proxy = {proxy: _through(proxy, network.certificates) for proxy in network.proxies.values()}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer to one request; raises as httpx's own transports."""
        proxy = self._network.proxy_for(request.url)
        way = self._direct if proxy is None else self._by_proxy[proxy]
        try:
            return way.handle_request(request)
        except UnicodeError as error:  # Python's encoder of names; such a name may come from a redirect
            raise httpx.ConnectError("that is no host name") from error
        except (ProxyError, ProxyConnectionError, ProxyTimeoutError) as error:  # SOCKS errors are their own
            raise httpx.ProxyError(str(error)) from error

    def close(self) -> None:
        """Close the connections."""
        for transport in (self._direct, *self._by_proxy.values()):
            transport.close()


def _through(proxy: Proxy, certificates: ssl.SSLContext) -> httpx.BaseTransport:
    url = proxy.address
    if url.scheme not in _SOCKS:
        own = certificates if url.scheme == "https" else None
        return httpx.HTTPTransport(
            verify=certificates, trust_env=False, proxy=httpx.Proxy(url, ssl_context=own)
        )
    # httpx's own SOCKS waits without end for a proxy that says nothing.
    return SyncProxyTransport(
        proxy_type=ProxyType.SOCKS5,
        proxy_host=url.host,
        proxy_port=url.port or _SOCKS_PORT,
        username=url.username or None,
        password=url.password or None,
        rdns=True,
        verify=certificates,
        trust_env=False,
    )


def _variable(name: str) -> str:
    """The variable as it is spelt in the environment."""
    return next((spelt for spelt in (name, name.upper()) if os.environ.get(spelt)), name.upper())


def _certificates(ca_file: str | None) -> ssl.SSLContext:
    given = next(((name, path) for name in _BUNDLES if (path := os.environ.get(name))), None)
    name, path = ("pip's cert setting", ca_file) if ca_file else given or ("", "")
    if not path:
        return httpx.create_ssl_context(trust_env=False)
    # OpenSSL takes several folders in its variable.
    written = [each for each in path.split(os.pathsep) if each] if name == "SSL_CERT_DIR" else []
    found = [Path(each).expanduser() for each in written or [path]]
    try:
        if any(each.is_dir() for each in found):
            return ssl.create_default_context(capath=os.pathsep.join(map(str, found)))
        check_regular(found[0])  # OpenSSL would wait for a pipe
        return ssl.create_default_context(cafile=found[0])
    except OSError as error:  # ssl's own error is one, too
        reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise NetworkSettingError(
            f"{name} names {path}, which can't be used: {reason}. Name a file of "
            "certificates (PEM), or unset it."
        ) from error


def _exceptions(listed: str) -> Callable[[httpx.URL], bool]:
    """From NO_PROXY's list: names with all below them, addresses, networks. The rest of it is left out."""
    words = [word.partition("://")[2] or word for word in listed.replace(",", " ").lower().split()]
    networks = [network for word in words if (network := _network(word)) is not None]
    names = {word.removeprefix("*").removeprefix(".") for word in words if word != "*"}

    def is_direct(url: httpx.URL) -> bool:
        host = url.host.lower().rstrip(".")
        if "*" in words or urllib.request.proxy_bypass(host):  # the latter knows macOS' own exceptions
            return True
        address = _network(host)
        if address is not None and any(address.network_address in network for network in networks):
            return True
        labels = host.split(".")
        above = {".".join(labels[start:]) for start in range(len(labels))}
        return bool(names & (above | {f"{name}:{url.port}" for name in above}))

    return is_direct


def _network(word: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(word.removeprefix("[").partition("]")[0], strict=False)
    except ValueError:
        return None
