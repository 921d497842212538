"""Which addresses a web hook may reach: public ones, and private networks that the settings name. Nothing else."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """The destination may not be reached; the text says why, without credentials."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination, resolved once: `address` is what is connected to, `host` what is said (Host header, TLS name)."""

    scheme: str
    host: str
    port: int
    path: str
    address: Address


def parse(url: str) -> tuple[str, str, int, str]:
    """Return scheme, host, port and path with query; raise `Refused` for anything but a plain http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise Refused("the URL cannot be read") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise Refused("the URL must begin with https:// or http://")
    if not parts.hostname or parts.username is not None or parts.password is not None:
        raise Refused("the URL needs a host and must not hold a user or password")
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        raise Refused("the URL holds characters that do not belong there")
    path = parts.path or "/"
    return parts.scheme, parts.hostname, port, f"{path}?{parts.query}" if parts.query else path


async def resolve(url: str, allowed: Sequence[Network]) -> Target:
    """Resolve a destination once and check *every* address that its name has; raise `Refused` or `OSError`.

    Whoever connects must use `Target.address`: a second look-up could give another answer.
    """
    scheme, host, port, path = parse(url)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise Refused("the host's name cannot be resolved") from None
    # The scope of a link-local address ("%eth0") is no part of it.
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses:
        raise Refused("the host has no address")
    for address in addresses:
        check(address, scheme, allowed)
    return Target(scheme, host, port, path, addresses[0])


def check(address: Address, scheme: str, allowed: Sequence[Network]) -> None:
    """Raise `Refused` unless the address is public, over https, or lies in an allowed network."""
    embedded = _embedded(address)
    if any(one.version == network.version and one in network for network in allowed for one in (address, *embedded)):
        return
    if not all(_public(one) for one in (address, *embedded)):
        raise Refused("the address is private; name its network in TENURE_ALLOWED_NETWORKS if it may be reached")
    if scheme != "https":
        raise Refused("a public address is reached over https only")


def _public(address: Address) -> bool:
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local
    )


def _embedded(address: Address) -> tuple[Address, ...]:
    """Return the IPv4 addresses that an IPv6 address stands for: mapped, compatible, 6to4, Teredo, NAT64."""
    if isinstance(address, IPv4Address):
        return ()
    found: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one is not None]
    if address.teredo is not None:
        found += address.teredo
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(found)
