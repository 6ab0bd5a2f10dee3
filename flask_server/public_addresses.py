"""Which network addresses are public: whatever is inside a deployment, or tells its secrets, is not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What `is_global` lets through although it leads inside: Azure's metadata and wire server, Oracle's metadata
# (IETF protocol assignments, RFC 6890), and IPv6's abandoned site-local addresses (RFC 3879).
_INSIDE: tuple[Network, ...] = (
    IPv4Network("168.63.129.16/32"),
    IPv4Network("192.0.0.0/24"),
    IPv6Network("fec0::/10"),
)
# IPv6 addresses whose last 32 bits are an IPv4 address that is reached through them: IPv4-compatible (RFC 4291),
# mapped, translated (RFC 2765) and NAT64 (RFC 6052, RFC 8215).
_EMBEDDING = (
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("64:ff9b::/96"),
    IPv6Network("64:ff9b:1::/48"),
)


def may_be_reached(text: str, private: Iterable[Network]) -> bool:
    """Whether images may be fetched from an address.

    Args:
        text: An address as `getaddrinfo` writes it, perhaps with a scope such as `%eth0`.
        private: Networks that may be reached although they are not public.
    """
    address = embedded(ip_address(text.partition("%")[0]))
    if any(address.version == network.version and address in network for network in private):
        return True
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address.version == net.version and address in net for net in _INSIDE)
    )


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, where it does; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _EMBEDDING) and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else address)
