"""network_interface: an interface of a node (objects.md 17 names it; nothing of it touches the data path)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import Anything
from voltgw.config.schema import field, message


@message
class NetworkInterfaceSpec:
    """An interface of a node; what stands inside its kinds is not looked into."""

    SINCE: ClassVar = ""

    ethernet_interface: object = field(Anything(), "Ethernet, tagged or not.", group="interface_choice")
    dedicated_interface: object = field(Anything(), "A device of its own.", group="interface_choice")
    dedicated_management_interface: object = field(Anything(), "A device for management.", group="interface_choice")
    tunnel_interface: object = field(Anything(), "The end of a tunnel.", group="interface_choice")
    legacy_interface: object = field(Anything(), "The form of 2020.", group="interface_choice")
    layer2_interface: object = field(Anything(), "An interface without an address.", group="interface_choice")
