//! Which addresses the facade calls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where clouds answer with credentials, outside of the link-local range: EC2 by IPv6, Alibaba Cloud, Azure's platform
/// and Oracle Cloud.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// The driver's address, unless it is loopback, link-local, multicast, reserved or known as a cloud's metadata service:
/// a status that somebody has forged leads to none of these. It can lead to anything else that this process reaches,
/// nodes included, which a `NetworkPolicy` bounds. Tests alone have drivers on loopback.
pub(super) fn of_pod(text: &str, on_loopback: bool) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().ok()?;
    let ip = address.ip().to_canonical();
    let fine = if ip.is_loopback() { on_loopback } else { is_pods(ip) && !METADATA.contains(&ip) };
    (fine && address.port() != 0).then_some(address)
}

fn is_pods(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_link_local() || ip.is_multicast() || is_this_network(ip) || is_reserved(ip)),
        IpAddr::V6(ip) => !(ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified()),
    }
}

/// RFC 1122: `0.0.0.0/8`, this host on this network.
fn is_this_network(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 0
}

/// RFC 1112: `240.0.0.0/4`, broadcast included.
fn is_reserved(ip: Ipv4Addr) -> bool {
    ip.octets()[0] >= 240
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.244.0.7:4040", true)]
    #[case("[fd00::7]:4040", true)]
    #[case("203.0.113.1:4040", true)]
    #[case("127.0.0.1:4040", false)]
    #[case("127.8.8.8:4040", false)]
    #[case("[::1]:4040", false)]
    #[case("[::ffff:127.0.0.1]:4040", false)]
    #[case("169.254.169.254:80", false)]
    #[case("[::ffff:169.254.169.254]:80", false)]
    #[case("[fd00:ec2::254]:80", false)]
    #[case("100.100.100.200:80", false)]
    #[case("[::ffff:100.100.100.200]:80", false)]
    #[case("168.63.129.16:80", false)]
    #[case("192.0.0.192:80", false)]
    #[case("100.100.100.201:4040", true)]
    #[case("[fe80::1]:4040", false)]
    #[case("0.0.0.0:4040", false)]
    #[case("[::]:4040", false)]
    #[case("224.0.0.1:4040", false)]
    #[case("255.255.255.255:4040", false)]
    #[case("[ff02::1]:4040", false)]
    #[case("10.244.0.7:0", false)]
    #[case("10.244.0.7", false)]
    #[case("driver.example:4040", false)]
    #[case("", false)]
    fn only_what_can_be_a_pod_is_called(#[case] text: &str, #[case] fine: bool) {
        assert_eq!(of_pod(text, false).is_some(), fine);
    }

    #[test]
    fn tests_have_drivers_on_loopback_and_nowhere_else() {
        assert!(of_pod("127.0.0.1:4040", true).is_some());
        assert!(of_pod("169.254.169.254:80", true).is_none());
    }
}
