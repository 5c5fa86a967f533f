"""fleet: settings of many sites (objects.md 11.6); only its networks, connectors and firewall matter to a proxy."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import Anything, refs
from voltgw.config.names import Reference
from voltgw.config.reader import WARNS
from voltgw.config.schema import field, message
from voltgw.config.types import Flag, Presence, Text
from voltgw.config.values import Ref


@message
class FleetSpec:
    """Settings of all sites that have its label; what is about hardware is not looked into."""

    SINCE: ClassVar = "2020"

    fleet_label: str | None = field(Text(), "Sites with the label ves.io/fleet=<this> are its members.")
    inside_virtual_network: tuple[Ref, ...] = field(refs("virtual_network"), "Inside network of the sites.")
    outside_virtual_network: tuple[Ref, ...] = field(refs("virtual_network"), "Outside network of the sites.")
    network_connectors: tuple[Ref, ...] = field(refs("network_connector"), "How their networks are joined.")
    network_firewall: tuple[Ref, ...] = field(refs("network_firewall"), "Policies of their networks.")
    default_config: bool = field(Presence(), "Interfaces as they are found.", group="interface_choice")
    device_list: object = field(Anything(), "Interfaces by device.", group="interface_choice", state=WARNS)
    interface_list: object = field(Anything(), "Interfaces by object.", group="interface_choice", state=WARNS)
    no_bond_devices: bool = field(Presence(), "No bonded interfaces.", group="bond_choice")
    bond_device_list: object = field(Anything(), "Bonded interfaces.", group="bond_choice", state=WARNS)
    no_storage_device: bool = field(Presence(), "No storage devices.", group="storage_device_choice")
    storage_device_list: object = field(Anything(), "Storage devices.", group="storage_device_choice", state=WARNS)
    no_storage_interfaces: bool = field(Presence(), "No interfaces for storage.", group="storage_interface_choice")
    storage_interface_list: object = field(Anything(), "Interfaces for storage.", group="storage_interface_choice", state=WARNS)
    no_storage_static_routes: bool = field(Presence(), "No routes for storage.", group="storage_static_routes_choice")
    storage_static_routes: object = field(Anything(), "Routes for storage.", group="storage_static_routes_choice", state=WARNS)
    default_storage_class: bool = field(Presence(), "The usual class of storage.", group="storage_class_choice")
    storage_class_list: object = field(Anything(), "Classes of storage.", group="storage_class_choice", state=WARNS)
    disable_gpu: bool = field(Presence(), "No GPU.", group="gpu_choice")
    enable_gpu: bool = field(Presence(), "GPU.", group="gpu_choice", state=WARNS)
    enable_vgpu: object = field(Anything(), "Shared GPU.", group="gpu_choice", state=WARNS)
    allow_all_usb: bool = field(Presence(), "Any USB device.", group="usb_policy_choice")
    deny_all_usb: bool = field(Presence(), "No USB device.", group="usb_policy_choice", state=WARNS)
    usb_policy: Ref | None = field(Reference("usb_policy"), "Some USB devices.", group="usb_policy_choice", state=WARNS)
    logs_streaming_disabled: bool = field(Presence(), "Logs are not sent on.", group="logs_receiver_choice")
    log_receiver: Ref | None = field(
        Reference("log_receiver"), "Logs are sent there.", group="logs_receiver_choice", state=WARNS)
    no_dc_cluster_group: bool = field(Presence(), "In no group of sites.", group="dc_cluster_group_choice")
    dc_cluster_group: Ref | None = field(
        Reference("dc_cluster_group"), "In this group, by the outside network.", group="dc_cluster_group_choice", state=WARNS)
    dc_cluster_group_inside: Ref | None = field(
        Reference("dc_cluster_group"), "In this group, by the inside network.", group="dc_cluster_group_choice", state=WARNS)
    disable_vm: bool = field(Presence(), "No virtual machines.", group="vm_choice")
    enable_vm: object = field(Anything(), "Virtual machines.", group="vm_choice", state=WARNS)
    blocked_services: object = field(Anything(), "Services of the nodes that are closed.", since="", state=WARNS)
    enable_default_fleet_config_download: bool = field(
        Flag(), "Settings of storage and GPU are fetched.", since="", state=WARNS)
    kubernetes_upgrade_drain: object = field(Anything(), "How nodes are emptied for an upgrade.", since="", state=WARNS)
    operating_system_version: str | None = field(Text(), "Version of the operating system.", since="", state=WARNS)
    performance_enhancement_mode: object = field(Anything(), "Tuned for packets or for requests.", since="", state=WARNS)
    default_sriov_interface: bool = field(Presence(), "No shared interfaces.", since="", group="sriov_interface_choice")
    sriov_interfaces: object = field(Anything(), "Shared interfaces.", since="", group="sriov_interface_choice", state=WARNS)
    volterra_software_version: str | None = field(Text(), "Version of the vendor's software.", since="", state=WARNS)
