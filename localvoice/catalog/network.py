"""The way to the network that the environment describes: proxies, exceptions from them, certificates.

httpx reads the same variables, but fails on exceptions that other programs take (`[::1]`, `fd00::/8`), and
its errors don't name the variable.
"""

import os
import queue
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from httpx_socks import SyncProxyTransport
from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

from localvoice.catalog.errors import NetworkSettingError, SourceError
from localvoice.files import check_regular

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0
"""For the first answer of a host that isn't waited for, from the first that is asked of it."""
_BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name certificates, in the order in which they count."""
_NO_CONNECTION = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError),
    *(ProxyError, ProxyConnectionError, ProxyTimeoutError),  # those of SOCKS
    UnicodeError,  # Python's encoder of names; such a name may come from a redirect
)


def parsed(address: str, schemes: Collection[str] = ("http", "https")) -> httpx.URL | None:
    """The address; None if it is none, or of another scheme."""
    try:
        urlsplit(address)  # knows an unfinished IPv6 address, which httpx takes for a name
        url = httpx.URL(address)
        usable = url.scheme in schemes and url.host and 0 <= (url.port or 0) < 2**16
    except (ValueError, httpx.InvalidURL):  # `host` decodes international names
        return None
    return url if usable else None


class Proxy(NamedTuple):
    """A proxy that is set."""

    setting: str
    """What names it, such as HTTPS_PROXY."""
    address: httpx.URL
    """With user name and password, if there are any: never show it."""
    transport: httpx.BaseTransport


class Route(httpx.BaseTransport):
    """Sends each request the way that its host is reached. A host out of reach is tried once.

    The way is that of pip's settings where they are given, else that of the environment: NetworkSettingError
    if that can't be used. A request raises SourceError, or what httpx's own transports raise.

    One that isn't `patient` also tries a host once that takes a connection and says nothing for
    ANSWER_SECONDS: it is for files that can be had elsewhere.
    """

    def __init__(
        self, pip_proxy: str | None = None, ca_file: str | None = None, *, patient: bool = True
    ) -> None:
        certificates = _certificates(ca_file)
        self._direct = httpx.HTTPTransport(verify=certificates, trust_env=False)
        self._proxies: dict[str, Proxy] = {}
        """By scheme of the address that is asked for, and `all`."""
        self._exceptions: str | None = None
        """NO_PROXY's list: names with all below them, addresses, networks. None: there are no exceptions."""
        if pip_proxy:
            self._proxies["all"] = _proxy("pip's proxy setting", pip_proxy, certificates)
        else:
            found = urllib.request.getproxies()  # of the environment; on macOS, else of the system
            self._exceptions = found.get("no", "")
            for scheme in ("http", "https", "all"):
                if address := found.get(scheme):
                    lower, upper = f"{scheme}_proxy", f"{scheme.upper()}_PROXY"
                    setting = lower if os.environ.get(lower) else upper
                    self._proxies[scheme] = _proxy(setting, address, certificates)
        self._faults: dict[str, str | None] = {}
        """By host: why it can't be reached, None for one that was tried."""
        self._patient = patient
        self._asked: dict[str, float] = {}
        """By host that hasn't answered yet: when it was first asked."""
        self._answered: set[str] = set()
        self._lock = threading.Lock()

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """The proxy that connects to this address; None where this machine does."""
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        return None if proxy is None or self._is_excepted(url) else proxy

    def _is_excepted(self, url: httpx.URL) -> bool:
        if self._exceptions is None:
            return False
        host = url.host.lower().rstrip(".")
        words = [
            word.partition("://")[2] or word for word in self._exceptions.lower().replace(",", " ").split()
        ]
        if "*" in words or urllib.request.proxy_bypass(host):  # the latter knows macOS' own exceptions
            return True
        networks = [network for word in words if (network := _network(word))]
        if (address := _network(host)) and any(address.network_address in network for network in networks):
            return True
        names = {word.removeprefix("*").removeprefix(".") for word in words}
        return any(f".{end}".endswith(f".{name}") for name in names for end in (host, f"{host}:{url.port}"))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host, proxy = request.url.host, self.proxy_for(request.url)
        with self._lock:
            self._asked.setdefault(host, time.monotonic())
            if host not in self._faults:
                # A proxy makes the connection itself: then this machine need not know the host.
                self._faults[host] = None if proxy else connection_fault(request.url)
        if fault := self._faults[host]:
            raise SourceError(fault)
        hurries, usual = not self._patient and host not in self._answered, request.extensions.get("timeout")
        if hurries:
            left = max(0.1, self._asked[host] + ANSWER_SECONDS - time.monotonic())
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), left)
        try:
            response = (proxy.transport if proxy else self._direct).handle_request(request)
        except _NO_CONNECTION as error:
            reason = "that is no host name" if isinstance(error, UnicodeError) else str(error)
            way = f" by the proxy of {proxy.setting}" if proxy else ""
            fault = f"no connection to {host}{way}: {reason or type(error).__name__}"
            self._faults[host] = fault
            raise SourceError(fault) from error
        except httpx.TimeoutException as error:
            if not hurries:
                raise
            self._faults[host] = fault = f"no answer from {host} within {ANSWER_SECONDS:.0f} s"
            raise SourceError(fault) from error
        self._answered.add(host)
        request.extensions["timeout"] = usual  # the bytes may take longer
        return response

    def give_up(self, host: str, reason: str) -> None:
        """Ask nothing more of a host that failed often enough; a patient route goes on asking."""
        if not self._patient:
            self._faults[host] = reason

    def close(self) -> None:
        for transport in (self._direct, *(proxy.transport for proxy in self._proxies.values())):
            transport.close()


def _proxy(setting: str, address: str, certificates: ssl.SSLContext) -> Proxy:
    # Desktops write socks:// for SOCKS 5; without any scheme it is HTTP, as for curl.
    address = address.strip()
    address = f"http://{address}" if "://" not in address else address
    address = f"socks5{address[5:]}" if address.startswith("socks:") else address
    url = parsed(address, ("http", "https", "socks5", "socks5h"))
    if url is None:
        raise NetworkSettingError(
            f"{setting} is not the address of a proxy that can be used. Write it as http://HOST:PORT or "
            "socks5://HOST:PORT, or unset it."
        )
    transport: httpx.BaseTransport
    if url.scheme.startswith("http"):
        via = httpx.Proxy(url, ssl_context=certificates if url.scheme == "https" else None)
        transport = httpx.HTTPTransport(verify=certificates, trust_env=False, proxy=via)
    else:
        # httpx's own SOCKS waits without end for a proxy that says nothing.
        socks5 = str(url.copy_with(scheme="socks5", port=url.port or 1080))
        transport = SyncProxyTransport.from_url(socks5, rdns=True, verify=certificates, trust_env=False)
    return Proxy(setting, url, transport)


def connection_fault(address: httpx.URL) -> str | None:
    """Why no connection can be made, or None; within CONNECT_SECONDS.

    In a thread of its own: a name look-up has no time limit, and that of a connection starts again with each
    address of the host, so a firewall that swallows packets would hold up the download for a minute.
    """
    answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    port = address.port or (443 if address.scheme == "https" else 80)

    def attempt() -> None:
        try:
            socket.create_connection((address.host, port), timeout=CONNECT_SECONDS).close()
            answer.put(None)
        except OSError as error:
            answer.put(f"no connection to {address.host}: {error.strerror or error}")

    threading.Thread(target=attempt, name="localvoice-probe", daemon=True).start()
    try:
        return answer.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        return f"no connection to {address.host}: no answer within {CONNECT_SECONDS:.0f} s"


def _certificates(ca_file: str | None) -> ssl.SSLContext:
    variable = next(filter(os.environ.get, _BUNDLES), "")
    name, path = ("pip's cert setting", ca_file) if ca_file else (variable, os.environ.get(variable, ""))
    if not path:
        return httpx.create_ssl_context(trust_env=False)
    # OpenSSL takes several folders in its variable.
    written = [each for each in path.split(os.pathsep) if each] if name == "SSL_CERT_DIR" else [path]
    found = [Path(each).expanduser() for each in written or [path]]
    try:
        if any(each.is_dir() for each in found):
            return ssl.create_default_context(capath=os.pathsep.join(map(str, found)))
        check_regular(found[0])  # OpenSSL would wait for a pipe
        return ssl.create_default_context(cafile=found[0])
    except OSError as error:  # ssl's own error is one, too
        reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise NetworkSettingError(
            f"{name} names {path}, which can't be used: {reason}. Name a file of certificates (PEM), or "
            "unset it."
        ) from error


def _network(word: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(word.removeprefix("[").partition("]")[0], strict=False)
    except ValueError:
        return None
