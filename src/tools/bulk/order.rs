//! Which guests come before which: as Proxmox brings them up and down with their nodes.

use crate::{pve::PropertyString, tool::*};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    #[default]
    Vmid,
    Startup,
}

/// A guest's `startup` option: `order=1,up=30,down=60`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Startup {
    /// Those without one come last.
    pub order: Option<u32>,
    /// Seconds after its start before the next is begun.
    pub up: Option<u64>,
    /// Seconds that it has to shut down.
    pub down: Option<u64>,
}

impl Startup {
    pub async fn of(pve: &Reader<'_>, guest: &Guest) -> Result<Self> {
        let config = pve.config(guest).await?;
        Ok(Self::parse(&config.get("startup").unwrap_or_default()))
    }

    fn parse(text: &str) -> Self {
        let parts = PropertyString::parse(text);
        let number = |key: &str| parts.get(key).and_then(|value| value.parse::<u64>().ok());
        // The order may stand without its name.
        let order = parts.get("order").or(parts.first()).and_then(|value| value.parse().ok());
        Self { order, up: number("up"), down: number("down") }
    }

    /// Its stage: in the order of the numbers, or against it.
    pub fn stage(self, down: bool) -> u32 {
        let order = self.order.unwrap_or(u32::MAX);
        if down { u32::MAX - order } else { order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_read_as_proxmox_writes_it() {
        let all = Startup { order: Some(2), up: Some(30), down: Some(60) };
        assert_eq!(Startup::parse("order=2,up=30,down=60"), all);
        assert_eq!(Startup::parse("2,up=30,down=60"), all);
        assert_eq!(Startup::parse("up=5"), Startup { up: Some(5), ..Startup::default() });
        assert_eq!(Startup::parse(""), Startup::default());
    }

    #[test]
    fn those_without_an_order_start_last_and_stop_first() {
        let (first, none) = (Startup { order: Some(1), ..Startup::default() }, Startup::default());
        assert!(first.stage(false) < none.stage(false) && none.stage(true) < first.stage(true));
    }
}
