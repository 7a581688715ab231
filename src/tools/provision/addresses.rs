//! Addresses for new guests: from a list, a range or a network, and none that the configuration of another guest has.

mod pool;

use std::{collections::HashMap, net::IpAddr};

use futures::{StreamExt, stream};

use self::pool::Pool;
use crate::{
    error::Kind,
    pve::{Guest, GuestKind, PropertyString, address},
    tool::*,
    tools::create::Address,
};

/// Configurations that are read at the same time.
const AT_ONCE: usize = 16;
/// Owners that an error names.
const NAMED: usize = 5;

/// What a call asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Named in errors.
    pub field: &'a str,
    /// `dhcp`, `auto`, `manual`; `10.0.0.5/24`, several of them, `10.0.0.10-10.0.0.20/24` or `10.0.0.0/24`. Nothing is `dhcp`.
    pub ip: &'a [String],
    pub gateway: Option<&'a str>,
    /// The guests that get one, with the VMID of each that exists: it keeps the address that it has, where that is among them.
    pub guests: &'a [Option<u32>],
}

/// The address of one new guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// For `ipconfig0` of a VM and `net0` of a container: `ip=10.0.0.5/24,gw=10.0.0.1`.
    pub properties: String,
    /// Where it is fixed.
    pub address: Option<IpAddr>,
    /// Fixed, and without a gateway.
    pub alone: bool,
}

impl Given {
    pub fn dhcp() -> Self {
        Self { properties: "ip=dhcp".to_owned(), address: None, alone: false }
    }

    pub fn is_ipv6(&self) -> bool {
        self.properties.starts_with("ip6=")
    }
}

/// The addresses, one for each guest.
#[derive(Debug, Default)]
pub struct Addresses {
    pub given: Vec<Given>,
    pub warnings: Vec<String>,
}

/// Chooses the addresses. Where they are fixed, the configurations of all other guests are read.
///
/// # Errors
/// `BadArgument` with the field; `Conflict` that names who has an address, or says how many are free.
pub async fn choose(pve: &Reader<'_>, wanted: Wanted<'_>) -> Result<Addresses> {
    let asked: Vec<&str> =
        wanted.ip.iter().flat_map(|item| item.split([',', ' '])).map(str::trim).filter(|s| !s.is_empty()).collect();
    let gateway = wanted.gateway.map(str::trim).filter(|text| !text.is_empty());
    if let [] | ["dhcp" | "auto" | "manual"] = asked.as_slice() {
        let address = Address::of(wanted.field, asked.first().copied(), gateway)?;
        let given = Given { properties: address.properties, address: None, alone: false };
        return Ok(Addresses { given: vec![given; wanted.guests.len()], warnings: Vec::new() });
    }
    let pool = Pool::parse(wanted.field, &asked, gateway)?;
    let count = wanted.guests.len();
    if pool.is_exact() && pool.len() < count as u128 {
        let words = format!("{}: {} addresses for {count} guests", wanted.field, pool.len());
        return Err(Error::bad_argument(words).hint("give as many, a range (10.0.0.10-10.0.0.20/24), or dhcp"));
    }
    let Used { by, unread } = used(pve).await?;
    let given = |(address, length): (IpAddr, u8)| {
        let made = Address::of(wanted.field, Some(&format!("{address}/{length}")), gateway)?;
        Ok(Given { properties: made.properties, address: Some(address), alone: made.alone })
    };
    let kept = |vmid: &Option<u32>| {
        let own = |(address, _): &(IpAddr, u8)| vmid.is_some() && by.get(address).is_some_and(|o| o.vmid == *vmid);
        pool.candidates().find(own)
    };
    let mut all: Vec<Option<(IpAddr, u8)>> = wanted.guests.iter().map(kept).collect();
    let mine = |owner: &Owner| owner.vmid.is_some() && wanted.guests.contains(&owner.vmid);
    let mut taken = Vec::new();
    let mut free =
        pool.candidates().filter(|candidate| !all.contains(&Some(*candidate))).collect::<Vec<_>>().into_iter();
    for place in all.iter_mut().filter(|place| place.is_none()) {
        *place = free.by_ref().find(|(address, _)| {
            let who = match by.get(address) {
                Some(owner) if !mine(owner) => owner.name.as_str(),
                _ if pve.client().addresses().is_held(*address) => "another call, which is giving it out now",
                _ => return true,
            };
            taken.push(format!("{address} ({who})"));
            false
        });
    }
    let found = all.iter().flatten().count();
    if found < count {
        let named = taken.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = taken.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        // As many as are needed, one by one: each is meant.
        let words = match pool.is_exact() && pool.len() == count as u128 {
            true => format!("{}: taken: {named}{more}", wanted.field),
            false => format!("{}: {count} needed, {found} free; taken: {named}{more}", wanted.field),
        };
        return Err(Error::new(Kind::Conflict, words).hint("give other addresses, a larger range, or dhcp"));
    }
    let given = all.into_iter().flatten().map(given).collect::<Result<Vec<_>>>()?;
    let warnings = match unread {
        0 => Vec::new(),
        n => vec![format!(
            "the configurations of {n} guests could not be read: whether they have one of the addresses is not known"
        )],
    };
    Ok(Addresses { given, warnings })
}

/// Who has an address.
struct Owner {
    name: String,
    /// The guest; nothing where it is somebody's gateway.
    vmid: Option<u32>,
}

/// Fixed addresses, and whose they are.
struct Used {
    by: HashMap<IpAddr, Owner>,
    /// Guests whose configuration could not be read.
    unread: usize,
}

/// The addresses and gateways in the configurations of all guests that may have any.
async fn used(pve: &Reader<'_>) -> Result<Used> {
    let rows = pve.resources_now().await?;
    let guests: Vec<Guest> = rows.iter().filter(|row| !row.template).map(Guest::from).collect();
    let read = guests.into_iter().map(|guest| async move {
        let config = pve.config(&guest).await;
        (guest, config)
    });
    let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
    let mut used = Used { by: HashMap::new(), unread: 0 };
    while let Some((guest, config)) = read.next().await {
        let config = match config {
            Ok(config) => config,
            Err(e) if e.kind() == Kind::Cancelled => return Err(e),
            // Deleted meanwhile.
            Err(e) if e.is_not_found() => continue,
            Err(_) => {
                used.unread += 1;
                continue;
            }
        };
        let addresses = address::configured(guest.kind, &config).into_iter().flat_map(|interface| interface.addresses);
        let owner = || Owner { name: guest.to_string(), vmid: Some(guest.vmid) };
        used.by.extend(addresses.map(|address| (address, owner())));
        let stem = if guest.kind == GuestKind::Qemu { "ipconfig" } else { "net" };
        for (_, value) in config.iter().filter(|(key, _)| key.starts_with(stem)) {
            let value = PropertyString::parse(&value);
            let gateways = ["gw", "gw6"].into_iter().filter_map(|key| value.get(key)?.parse::<IpAddr>().ok());
            for gateway in gateways {
                let owner = || Owner { name: format!("the gateway of {guest}"), vmid: None };
                used.by.entry(gateway).or_insert_with(owner);
            }
        }
    }
    Ok(used)
}
