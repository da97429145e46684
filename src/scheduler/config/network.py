"""Where the service listens, and what webhooks may reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from scheduler.config.checks import (
    problem_with_ca_file,
    problem_with_egress,
    problem_with_hosts,
    problem_with_networks,
    problem_with_proxy,
    problem_with_public_url,
)
from scheduler.config.settings import Setting


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Where the service listens."""

    host: Annotated[
        tuple[str, ...],
        Setting(
            "Address to listen on, or several; 0.0.0.0: every IPv4 address of the machine, :: every IPv6 and IPv4 one.",
            check=problem_with_hosts,
            takes_one=True,
        ),
    ] = ("127.0.0.1",)
    port: Annotated[int, Setting("Port to listen on; 0 for any free one.", low=0, high=65_535)] = 8000
    keepalive_s: Annotated[
        float,
        Setting(
            "How long an idle connection of a client is kept, seconds. A load balancer has to close its own earlier, "
            "or it sends requests on connections that are just being closed; many close after 60 s.",
            low=1,
            high=3600,
        ),
    ] = 75
    public_url: Annotated[
        str | None,
        Setting(
            "The address under which people reach the service, for the links that it prints. Default: made of host and "
            "port.",
            check=problem_with_public_url,
            example="https://scheduler.example.org",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Setting(
            "Networks and addresses of reverse proxies whose X-Forwarded-For is trusted: the audit then has the "
            "address of the client.",
            check=problem_with_networks,
            example=("127.0.0.1", "172.18.0.0/16"),
        ),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class EgressConfig:
    """Where webhooks may go."""

    allow: Annotated[
        tuple[str, ...],
        Setting(
            "Networks, addresses and host names, the last two with an optional port, that webhooks may reach although "
            "they are private.",
            live=True,
            check=problem_with_egress,
            example=("172.18.0.0/16", "app", "127.0.0.1:9000"),
        ),
    ] = ()
    ca_file: Annotated[
        Path | None,
        Setting(
            "PEM file of certificate authorities that webhooks trust beside the system's.",
            check=problem_with_ca_file,
            example="/etc/scheduler/authorities.pem",
        ),
    ] = None
    proxy: Annotated[
        str | None,
        Setting(
            "The proxy that all webhooks go through, http://USER:PASSWORD@HOST:PORT. It gets a CONNECT for the "
            "address that was looked up and checked here, for http as well. Variables such as HTTPS_PROXY are "
            "ignored.",
            check=problem_with_proxy,
            secret=True,
            example="http://proxy.example.org:3128",
        ),
    ] = field(default=None, repr=False)
    proxy_resolves: Annotated[
        bool,
        Setting(
            "Give the proxy names in place of addresses, where names can be looked up only there. Which addresses "
            "webhooks reach under a name is then decided by the proxy."
        ),
    ] = False
    allow_insecure_tls: Annotated[
        bool,
        Setting(
            "Permit webhooks whose `tls` has `verify: false`: what they send can be read and answered by anyone on the "
            "way."
        ),
    ] = False
