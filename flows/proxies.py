"""Proxies of the environment and addresses of this machine: what runs here is never asked through a proxy.

``http_proxy`` and its kin without ``no_proxy`` send every request of Prefect's and MLflow's clients through the proxy,
those to 127.0.0.1 as well, which a proxy refuses or answers for itself. :func:`spare_loopback` names this machine in
``no_proxy`` for this process and all that it starts; what goes outside (a webhook, a data remote) keeps its proxy.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import urllib.parse
import urllib.request

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str | None) -> bool:
    """Whether a URL's host is this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("prefect.example")
    (True, True, True, False)
    """
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host.lower() == "localhost"


def spare_loopback() -> None:
    """Add this machine to ``no_proxy`` and ``NO_PROXY`` where the environment names a proxy; what they hold stays.

    Clients read either spelling: one that is not set begins as the other. Without a proxy nothing is set: the variables
    would hide those of the system (macOS, Windows), which have exceptions of their own.
    """
    if not any(os.environ.get(spelt) for name in PROXIES for spelt in (name, name.upper())):
        return
    given = {spelt: os.environ.get(spelt, "") for spelt in ("no_proxy", "NO_PROXY")}
    for spelt in given:
        hosts = [host.strip() for host in (given[spelt] or "".join(given.values())).split(",") if host.strip()]
        if "*" not in hosts:  # that is everything, and only where it stands alone
            hosts = list(dict.fromkeys([*hosts, *LOOPBACK]))
        os.environ[spelt] = ",".join(hosts)


def open_url(request: urllib.request.Request, timeout_s: float) -> http.client.HTTPResponse:
    """``urlopen`` that asks no proxy for an address of this machine. Raises OSError."""
    near = is_loopback(urllib.parse.urlsplit(request.full_url).hostname)
    handlers = [urllib.request.ProxyHandler({})] if near else []
    return urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)
