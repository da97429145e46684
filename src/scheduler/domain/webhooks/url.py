"""Parses the URLs of webhooks strictly, and classifies the addresses that webhooks may not reach.

Whether the configuration allows a denied address is decided in ``engine.http.egress``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import idna

from scheduler.domain.errors import SchedulerError, invalid
from scheduler.domain.webhooks.template import without_blanks

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_URL = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(r"[^:/?#]*://[^/?#]*")
_AUTHORITY = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The server that a URL addresses. ``host`` is as ``canonical_host`` returns it, or IPv6 without brackets."""

    scheme: str
    host: str
    port: int
    is_absolute: bool = False
    """The host was written with a trailing dot: the search list of the resolver must not extend it."""

    @property
    def address(self) -> Address | None:
        """The host as an address, unwrapped; ``None`` when it is a name."""
        try:
            return unwrap(ipaddress.ip_address(self.host))
        except ValueError:
            return None

    @property
    def endpoint(self) -> str:
        """``host:port``, always with the port; an IPv6 host is in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def netloc(self) -> str:
        """The value of the ``Host`` header, which has the port only where it is not the default of the scheme."""
        is_default = self.port == DEFAULT_PORTS[self.scheme]
        return self.endpoint.rpartition(":")[0] if is_default else self.endpoint

    @property
    def authority(self) -> str:
        """What stands in a URL of this target: as ``netloc``, and with the dot of an absolute name."""
        return self.netloc.replace(self.host, f"{self.host}.", 1) if self.is_absolute else self.netloc


def parse_target(url: str) -> Target:
    """The server that ``url`` addresses, parsed so strictly that no other parser can find another host in it.

    Raises the ``VALIDATION_ERROR`` of ``url``: http and https only, at most 2,048 characters, no user name, control
    character, space or backslash, a port from 1 to 65535, and a host that is a name or a canonical address (WHATWG URL:
    a host that ends in a number must be a dotted quad).
    """
    return split_url(url)[0]


def split_url(url: str, *, longest: int = LONGEST_URL) -> tuple[Target, str]:
    """The target of ``url`` and the rest after the authority, which is unchanged but for blanks around the names of a
    template. Raises as ``parse_target`` does.
    """
    if len(url) > longest:
        raise invalid("url", f"at most {longest} characters, not {len(url)}")
    if "{{" in url:
        url = without_blanks(url)
    if _has_unsafe_character(url):
        raise invalid("url", "no spaces, control characters or backslashes; write them percent-encoded")
    match = _URL.fullmatch(url)
    if match is None:
        raise invalid("url", "must begin with http:// or https:// and a host, as in https://example.com/hook")
    if "@" in match["authority"]:
        raise invalid("url", "no user name or password before the host; put credentials into headers")
    if "{{" in match["authority"]:
        raise invalid("url", "host and port are fixed; names in {{ }} are replaced in path and query only")
    parts = _AUTHORITY.fullmatch(match["authority"])
    if parts is None:
        raise invalid("url", "the part after // must be a host and perhaps :port, as in example.com:8080")
    scheme = match["scheme"].lower()
    port = int(parts["port"]) if parts["port"] else DEFAULT_PORTS[scheme]
    if not 1 <= port <= 65_535:
        raise invalid("url", f"the port must be 1 to 65535, not {port}")
    if parts["host"] is None:
        return Target(scheme=scheme, host=_ipv6(parts["six"]), port=port), match["rest"]
    ascii_host = _to_ascii(parts["host"])
    target = Target(scheme=scheme, host=canonical_host(ascii_host), port=port, is_absolute=ascii_host.endswith("."))
    return target, match["rest"]


def origin_of(url: str) -> str:
    """Scheme and authority of a URL as they are written there; empty when it has none."""
    match = _ORIGIN.match(url)
    return match[0] if match is not None else ""


@lru_cache(maxsize=4096)
def host_of(url: str | None) -> str | None:
    """The canonical host of a webhook's ``url``; ``None`` when there is none."""
    try:
        return split_url(url)[0].host if url is not None else None
    except SchedulerError:
        return None


def _has_unsafe_character(text: str) -> bool:
    if text.isascii():
        return "\\" in text or " " in text or not text.isprintable()
    return any(c == "\\" or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp") for c in text)


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address("" if "%" in text else text))
    except ValueError:
        raise invalid(
            "url", "what stands in brackets must be an IPv6 address without a zone, as in [2001:db8::1]"
        ) from None


def canonical_host(text: str) -> str:
    """A host name or IPv4 address in its canonical form: ASCII (IDNA 2008), lower-case, without a trailing dot.

    Raises the ``VALIDATION_ERROR`` of ``url``.
    """
    host = _to_ascii(text).lower()
    name = host.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _dotted_quad(host)
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise invalid("url", "the host must be labels of 1 to 63 letters, digits, - and _, joined by dots")
    for label in labels:
        if label.startswith("xn--") and not _is_encoded_label(label):
            raise invalid("url", f'the host is no valid domain name: "{label}" encodes no international name')
    return name


def _is_encoded_label(label: str) -> bool:
    """Does a label that begins with ``xn--`` encode printable characters (Punycode, RFC 3492), and just this way?

    Permits more than IDNA 2008, for example emoji, because such names exist.
    """
    encoded = label[4:]
    try:
        text = encoded.encode().decode("punycode")
        return not text.isascii() and text.isprintable() and text.encode("punycode").decode() == encoded
    except (UnicodeError, ValueError, OverflowError):
        return False


def _to_ascii(text: str) -> str:
    if text.isascii():
        return text
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError:  # the base of what idna raises
        raise invalid("url", "the host is no valid international domain name") from None


def _dotted_quad(host: str) -> str:
    try:
        address = str(ipaddress.IPv4Address(host))
    except ValueError:
        address = ""
    if address != host:
        raise invalid("url", "a host that ends in a number must be an IPv4 address in the usual form, as in 192.0.2.7")
    return host


def is_address(text: str) -> bool:
    """Is it an IPv4 or IPv6 address, without brackets?"""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def unwrap(address: Address) -> Address:
    """The IPv4 address of an IPv4-mapped IPv6 address, to which the system connects; others unchanged."""
    return getattr(address, "ipv4_mapped", None) or address


def is_denied(address: Address) -> bool:
    """May webhooks reach this address only if ``egress.allow`` has it? Mapped addresses are unwrapped first."""
    address = unwrap(address)
    return any(address in network for network in _DENIED[address.version])


def is_guarded(address: Address) -> bool:
    """Does ``egress.allow`` have to list this very address, because no network in it is enough?

    Such are metadata services, multicast, and addresses that mean this host or none.
    """
    address = unwrap(address)
    embedded = _embedded_ipv4(address)
    return any(address in network for network in _GUARDED[address.version]) or (
        embedded is not None and is_guarded(embedded)
    )


def is_local(address: Address) -> bool:
    """Is it loopback or in a private network? ``--dev`` allows those."""
    address = unwrap(address)
    return any(address in network for network in _LOCAL[address.version]) and not is_guarded(address)


def _embedded_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is embedded in an IPv6 address of a translation prefix."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    if any(address in prefix for prefix in _TRANSLATED) and int(address) & 0xFFFF_FFFF > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _networks(text: str) -> dict[int, tuple[Network, ...]]:
    networks = [ipaddress.ip_network(part) for part in text.split()]
    return {version: tuple(n for n in networks if n.version == version) for version in (4, 6)}


_DENIED = _networks("""
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    168.63.129.16/32
    ::/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16
    fc00::/7 fe80::/10 fec0::/10 ff00::/8
""")
# Metadata services: AWS, Azure, GCP and OpenStack on 169.254/16 and fe80::a9fe:a9fe, Alibaba 100.100.100.200, Oracle
# 192.0.0.192, the Azure wire server, AWS and GCP over IPv6.
_GUARDED = _networks("""
    0.0.0.0/8 169.254.0.0/16 100.100.100.200/32 192.0.0.192/32 168.63.129.16/32 224.0.0.0/4 255.255.255.255/32
    ::/128 fe80::/10 fd00:ec2::/32 fd20:ce::/32 ff00::/8
""")
_LOCAL = _networks("127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
