//! Addresses as people write several: lists, ranges, networks. Knows nothing of whose they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::tool::{Error, Result};

/// Addresses that may be given, in order.
#[derive(Debug)]
pub struct Pool {
    blocks: Vec<Block>,
    gateway: Option<IpAddr>,
}

/// Some that follow one another.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: u128,
    last: u128,
    length: u8,
    v6: bool,
    /// Written as one address.
    one: bool,
}

/// More than this are not looked at.
const MOST: usize = 70_000;

impl Pool {
    /// From items such as `10.0.0.5/24`, `10.0.0.10-10.0.0.20/24`, `10.0.0.10-20/24` or `10.0.0.0/24`.
    ///
    /// # Errors
    /// `BadArgument` with the field, also for a gateway that cannot be theirs.
    pub fn parse(field: &str, items: &[&str], gateway: Option<&str>) -> Result<Self> {
        let blocks = items.iter().map(|item| Block::parse(field, item)).collect::<Result<Vec<_>>>()?;
        if let Some(two) = blocks.iter().find(|block| blocks.iter().any(|other| other.v6 != block.v6)) {
            let words = format!("{field}: IPv4 and IPv6 do not go together; {} is of another family", two.first());
            return Err(Error::bad_argument(words));
        }
        let gateway = gateway.map(|text| checked_gateway(text, &blocks)).transpose()?;
        Ok(Self { blocks, gateway })
    }

    /// Whether every address was written by itself.
    pub fn is_exact(&self) -> bool {
        self.blocks.iter().all(|block| block.one)
    }

    /// How many there are.
    pub fn len(&self) -> u128 {
        self.blocks.iter().map(|block| (block.last - block.first).saturating_add(1)).fold(0, u128::saturating_add)
    }

    /// Each with the length of its prefix: the gateway, and what stands for a whole network, is passed over.
    pub fn candidates(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        let all = self.blocks.iter().flat_map(|block| {
            let usable = move |n: &u128| block.one || !block.is_reserved(*n);
            (block.first..=block.last).filter(usable).map(|n| (block.address(n), block.length))
        });
        all.filter(|(address, _)| self.gateway != Some(*address)).take(MOST)
    }
}

impl Block {
    fn parse(field: &str, item: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::bad_argument(format!(
                "{field}: expected dhcp, an address such as 10.0.0.5/24, a range such as 10.0.0.10-10.0.0.20/24 or a network \
                 such as 10.0.0.0/24, got '{item}'{why}"
            ))
        };
        let (addresses, length) = item.split_once('/').ok_or_else(|| wrong(": the prefix length is missing"))?;
        let length: u8 = length.parse().map_err(|_| wrong(""))?;
        let (first, last) = addresses.split_once('-').map_or((addresses, None), |(first, last)| (first, Some(last)));
        let first: IpAddr = first.parse().map_err(|_| wrong(""))?;
        let v6 = first.is_ipv6();
        let bits = if v6 { 128 } else { 32 };
        if length == 0 || length > bits {
            return Err(wrong(&format!(": the prefix length is a number from 1 to {bits}")));
        }
        let first = number(first);
        let rest = (1u128 << (bits - length)) - 1;
        let (network, end) = (first & !rest, first | rest);
        let block = |first, last, one| Self { first, last, length, v6, one };
        let Some(last) = last else {
            // The address of a network stands for all that are in it.
            let whole = first == network && bits - length > 1;
            return Ok(if whole { block(network, end, false) } else { block(first, first, true) });
        };
        let last = match last.parse::<u8>() {
            Ok(octet) if !v6 => (first & !0xff) | u128::from(octet),
            _ => {
                let last: IpAddr = last.parse().map_err(|_| wrong(""))?;
                if last.is_ipv6() != v6 {
                    return Err(wrong(": its ends are of two families"));
                }
                number(last)
            }
        };
        if last < first {
            return Err(wrong(": it ends before it begins"));
        }
        if last > end {
            return Err(wrong(": it is not in one network"));
        }
        Ok(block(first, last, false))
    }

    fn host_bits(&self) -> u8 {
        if self.v6 { 128 - self.length } else { 32 - self.length }
    }

    fn network(&self) -> u128 {
        self.first & !((1u128 << self.host_bits()) - 1)
    }

    /// The network's own address, and the one that is everybody's.
    fn is_reserved(&self, n: u128) -> bool {
        let end = self.network() | ((1u128 << self.host_bits()) - 1);
        self.host_bits() > 1 && (n == self.network() || (!self.v6 && n == end))
    }

    fn has(&self, address: IpAddr) -> bool {
        let n = number(address);
        address.is_ipv6() == self.v6 && n >> self.host_bits() == self.first >> self.host_bits()
    }

    fn address(&self, n: u128) -> IpAddr {
        if self.v6 { Ipv6Addr::from(n).into() } else { Ipv4Addr::from(u32::try_from(n).unwrap_or(u32::MAX)).into() }
    }

    fn first(&self) -> IpAddr {
        self.address(self.first)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// A gateway has to be a neighbour, but of a single host: that one may be reached over any.
fn checked_gateway(text: &str, blocks: &[Block]) -> Result<IpAddr> {
    let wrong = |why: String| Error::bad_argument(format!("gateway: {why}"));
    let gateway: IpAddr =
        text.parse().map_err(|_| wrong(format!("expected an address such as 10.0.0.1, got '{text}'")))?;
    let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    for block in blocks {
        let network = format!("{}/{}", block.address(block.network()), block.length);
        if gateway.is_ipv6() != block.v6 {
            return Err(wrong(format!("{gateway} is of another family than {network}")));
        }
        if !block.has(gateway) && block.host_bits() > 0 && !link_local {
            return Err(wrong(format!("{gateway} is not in the network {network}")));
        }
        if block.one && block.first() == gateway {
            return Err(wrong(format!("{gateway} is the address of a guest, too")));
        }
        if block.has(gateway) && block.is_reserved(number(gateway)) {
            return Err(wrong(format!("{gateway} stands for the whole of {network}")));
        }
    }
    Ok(gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(items: &[&str], gateway: Option<&str>, count: usize) -> Result<String, String> {
        let pool = Pool::parse("ip", items, gateway).map_err(|e| e.to_string())?;
        let some = pool.candidates().take(count).map(|(address, length)| format!("{address}/{length}"));
        Ok(some.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn lists_ranges_and_networks_give_addresses_in_order() {
        for (items, gateway, addresses) in [
            (&["10.0.0.5/24"][..], None, "10.0.0.5/24"),
            (&["10.0.0.9/24", "10.0.0.5/24"], None, "10.0.0.9/24 10.0.0.5/24"),
            (&["10.0.0.10-10.0.0.12/24"], None, "10.0.0.10/24 10.0.0.11/24 10.0.0.12/24"),
            (&["10.0.0.10-12/24"], Some("10.0.0.11"), "10.0.0.10/24 10.0.0.12/24"),
            (&["10.0.0.0/30"], Some("10.0.0.1"), "10.0.0.2/30"),
            (&["10.0.0.254-10.0.1.1/23"], None, "10.0.0.254/23 10.0.0.255/23 10.0.1.0/23 10.0.1.1/23"),
            (&["192.0.2.7/32"], Some("10.0.0.1"), "192.0.2.7/32"),
            (&["10.0.0.0/31"], None, "10.0.0.0/31"),
            (&["2001:db8::/64"], Some("fe80::1"), "2001:db8::1/64 2001:db8::2/64 2001:db8::3/64 2001:db8::4/64"),
            (&["2001:db8::10-2001:db8::11/64"], None, "2001:db8::10/64 2001:db8::11/64"),
        ] {
            assert_eq!(first(items, gateway, 4), Ok(addresses.to_owned()), "{items:?}");
        }
    }

    #[test]
    fn what_is_no_address_and_no_gateway_is_told_by_field() {
        for (items, gateway, words) in [
            (&["10.0.0.5"][..], None, "ip: expected dhcp, an address"),
            (&["10.0.0.5/33"], None, "number from 1 to 32"),
            (&["10.0.0.5/0"], None, "number from 1 to 32"),
            (&["10.0.0.300/24"], None, "got '10.0.0.300/24'"),
            (&["dhcp", "10.0.0.5/24"], None, "got 'dhcp'"),
            (&["10.0.0.9-10.0.0.5/24"], None, "ends before it begins"),
            (&["10.0.0.9-10.0.1.5/24"], None, "not in one network"),
            (&["10.0.0.9-2001:db8::1/24"], None, "two families"),
            (&["10.0.0.5/24", "2001:db8::1/64"], None, "do not go together"),
            (&["10.0.0.5/24"], Some("gate"), "gateway: expected an address"),
            (&["10.0.0.5/24"], Some("10.0.1.1"), "gateway: 10.0.1.1 is not in the network 10.0.0.0/24"),
            (&["10.0.0.5/24"], Some("2001:db8::1"), "gateway: 2001:db8::1 is of another family"),
            (&["10.0.0.5/24"], Some("10.0.0.5"), "gateway: 10.0.0.5 is the address of a guest"),
            (&["10.0.0.5/24"], Some("10.0.0.255"), "gateway: 10.0.0.255 stands for the whole"),
        ] {
            let error = first(items, gateway, 4).err().unwrap_or_default();
            assert!(error.contains(words), "{items:?} {gateway:?}: {error}");
        }
    }
}
