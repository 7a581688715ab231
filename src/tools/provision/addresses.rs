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
    /// Guests that need one.
    pub count: usize,
    /// Guests whose present address is no obstacle, because it is about them.
    pub but: &'a [u32],
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
        return Ok(Addresses { given: vec![given; wanted.count], warnings: Vec::new() });
    }
    let pool = Pool::parse(wanted.field, &asked, gateway)?;
    if pool.is_exact() && pool.len() < wanted.count as u128 {
        let words = format!("{}: {} addresses for {} guests", wanted.field, pool.len(), wanted.count);
        return Err(Error::bad_argument(words).hint("give as many, a range (10.0.0.10-10.0.0.20/24), or dhcp"));
    }
    let Used { by, unread } = used(pve, wanted.but).await?;
    let owner = |address: IpAddr| match by.get(&address) {
        Some(who) => Some(who.clone()),
        None => {
            pve.client().addresses().is_held(address).then(|| "another call, which is giving it out now".to_owned())
        }
    };
    // As many as are needed, one by one: each is meant for its guest. Of more, the free ones.
    let each_is_meant = pool.is_exact() && pool.len() == wanted.count as u128;
    let (mut given, mut taken) = (Vec::new(), Vec::new());
    for (address, length) in pool.candidates() {
        if given.len() == wanted.count {
            break;
        }
        if let Some(who) = owner(address) {
            taken.push(format!("{address} ({who})"));
            continue;
        }
        let made = Address::of(wanted.field, Some(&format!("{address}/{length}")), gateway)?;
        given.push(Given { properties: made.properties, address: Some(address), alone: made.alone });
    }
    if given.len() < wanted.count {
        let named = taken.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = taken.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let words = match each_is_meant {
            true => format!("{}: taken: {named}{more}", wanted.field),
            false => format!("{}: {} needed, {} free; taken: {named}{more}", wanted.field, wanted.count, given.len()),
        };
        return Err(Error::new(Kind::Conflict, words).hint("give other addresses, a larger range, or dhcp"));
    }
    let warnings = match unread {
        0 => Vec::new(),
        n => vec![format!(
            "the configurations of {n} guests could not be read: whether they have one of the addresses is not known"
        )],
    };
    Ok(Addresses { given, warnings })
}

/// Fixed addresses, and whose they are.
struct Used {
    by: HashMap<IpAddr, String>,
    /// Guests whose configuration could not be read.
    unread: usize,
}

/// The addresses and gateways in the configurations of all guests that may have any.
async fn used(pve: &Reader<'_>, but: &[u32]) -> Result<Used> {
    let rows = pve.resources_now().await?;
    let guests: Vec<Guest> =
        rows.iter().filter(|row| !row.template && !but.contains(&row.vmid)).map(Guest::from).collect();
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
        used.by.extend(addresses.map(|address| (address, guest.to_string())));
        let stem = if guest.kind == GuestKind::Qemu { "ipconfig" } else { "net" };
        for (_, value) in config.iter().filter(|(key, _)| key.starts_with(stem)) {
            let value = PropertyString::parse(&value);
            let gateways = ["gw", "gw6"].into_iter().filter_map(|key| value.get(key)?.parse::<IpAddr>().ok());
            for gateway in gateways {
                used.by.entry(gateway).or_insert_with(|| format!("the gateway of {guest}"));
            }
        }
    }
    Ok(used)
}
