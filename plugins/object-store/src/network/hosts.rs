//! Hosts that are not like others: this machine, and those at which machines find their secrets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The hosts, in plain text by the vendors' own rules, at which machines ask.
pub(crate) const METADATA_HOSTS: &[&str] = &[
    "169.254.169.254",
    "[fd00:ec2::254]",
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::23]",
    GOOGLE_METADATA,
];

/// The name among them.
pub(crate) const GOOGLE_METADATA: &str = "metadata.google.internal";

/// Whether a host, without brackets, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Addresses at which machines find their own secrets, and addresses that are not valid.
pub(crate) fn is_forbidden(address: &IpAddr) -> bool {
    const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    const EC2_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const EKS_PODS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4 == AZURE_WIRE_SERVER || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            let is_service = v6 == EC2_METADATA || v6 == EKS_PODS;
            v6.is_unicast_link_local() || is_service || v6.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_addresses() {
        for (address, forbidden) in [
            ("169.254.169.254", true),
            ("168.63.129.16", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("::ffff:169.254.1.1", true),
            ("0.0.0.0", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_forbidden(&address.parse().unwrap()), forbidden, "{address}");
        }
    }
}
