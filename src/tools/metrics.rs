//! Figures over time, of guests and nodes: a summary of each series, and a few points where they are asked for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::list::round;
use crate::{pve::encode, tool::*};

pub const TOOLS: &[Entry] = &[Entry::query::<VmMetrics>(), Entry::query::<NodeMetrics>()];

/// Summarize a VM's or container's load over time: CPU, memory, disk, network, pressure.
#[derive(Deserialize, JsonSchema)]
struct VmMetrics {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default)]
    timeframe: Frame,
    #[serde(flatten)]
    wanted: Wanted,
}

/// Summarize a node's load over time: CPU, memory, network, root disk, pressure.
#[derive(Deserialize, JsonSchema)]
struct NodeMetrics {
    node: Option<String>,
    #[serde(default)]
    timeframe: NodeFrame,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Frame {
    #[default]
    Hour,
    Day,
    Week,
    Month,
    Year,
}

// Nodes' figures are kept for longer since Proxmox VE 9.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum NodeFrame {
    #[default]
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
}

// How a point is made of what was measured in its time.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Consolidation {
    #[default]
    Average,
    Max,
}

#[derive(Deserialize, JsonSchema)]
struct Wanted {
    #[serde(default)]
    cf: Consolidation,
    /// Also so many points.
    #[schemars(range(min = 0, max = 2000))]
    points: Option<usize>,
    /// Only these: cpu, mem, net …
    series: Option<Vec<String>>,
}

impl Tool for VmMetrics {
    const NAME: &str = "proxmox-vm-metrics";
    const TITLE: &str = "Figures of a guest";
    const API: &[&str] = &["GET /nodes/{node}/{type}/{vmid}/rrddata"];
    const EXAMPLE: (&str, &str) = ("How busy was postgres-01 today?", r#"{"name": "postgres-01", "timeframe": "day"}"#);
}

impl Tool for NodeMetrics {
    const NAME: &str = "proxmox-node-metrics";
    const TITLE: &str = "Figures of a node";
    const API: &[&str] = &["GET /nodes/{node}/rrddata"];
    const EXAMPLE: (&str, &str) = (
        "Draw the memory of pve1 over the week",
        r#"{"node": "pve1", "timeframe": "week", "series": ["mem"], "points": 20}"#,
    );
}

#[derive(Serialize, JsonSchema)]
struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    vmid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    node: String,
    timeframe: String,
    cf: Consolidation,
    /// First and last point, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    /// Between two points.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_s: Option<u64>,
    /// Points in which something was recorded, of all.
    recorded: usize,
    of: usize,
    series: Vec<Series>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<Vec<Point>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// One series in one line.
#[derive(Serialize, JsonSchema)]
struct Series {
    series: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    last: f64,
    min: f64,
    mean: f64,
    p95: f64,
    max: f64,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Point {
    /// Seconds since 1970.
    time: u64,
    /// The series, each in its unit; one of which nothing was recorded is absent.
    #[serde(flatten)]
    values: BTreeMap<String, f64>,
}

/// `GET …/rrddata`. What was not recorded is not there.
type Row = Map<String, Value>;

impl Query for VmMetrics {
    type Output = Figures;
    async fn query(&self, pve: &Reader<'_>) -> Result<Figures> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let rows = self.wanted.rows(pve, guest.path("rrddata"), &word(&self.timeframe)).await?;
        let figures = self.wanted.figures(&rows, word(&self.timeframe), guest.node)?;
        Ok(Figures { vmid: Some(guest.vmid), name: guest.name, ..figures })
    }
}

impl Query for NodeMetrics {
    type Output = Figures;
    async fn query(&self, pve: &Reader<'_>) -> Result<Figures> {
        let node = pve.node(self.node.as_deref()).await?;
        let path = format!("/nodes/{}/rrddata", encode(&node));
        let rows = self.wanted.rows(pve, path, &word(&self.timeframe)).await?;
        self.wanted.figures(&rows, word(&self.timeframe), node)
    }
}

/// An enumeration's value as Proxmox writes it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Wanted {
    async fn rows(&self, pve: &Reader<'_>, path: String, timeframe: &str) -> Result<Vec<Row>> {
        pve.request(&Request::get(path).param("timeframe", timeframe).param("cf", word(&self.cf))).await
    }

    fn figures(&self, rows: &[Row], timeframe: String, node: String) -> Result<Figures> {
        let times: Vec<u64> = rows.iter().filter_map(|row| number(row.get("time")?)).map(|time| time as u64).collect();
        let recorded: Vec<&Row> = rows.iter().filter(|row| row.len() > 1).collect();
        let mut names: Vec<&str> = recorded.iter().flat_map(|row| row.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| *name != "time");
        let chosen = self.chosen(&names)?;
        let columns: Vec<Column<'_>> = chosen.iter().filter_map(|name| Column::of(name, &recorded)).collect();
        let points = self.points.filter(|count| *count > 0).map(|count| thinned(&columns, &recorded, count, self.cf));
        let note = columns.is_empty().then(|| {
            "nothing was recorded in this time: it did not run, is new, or the statistics daemon (pvestatd) is behind"
                .to_owned()
        });
        Ok(Figures {
            vmid: None,
            name: None,
            node,
            timeframe,
            cf: self.cf,
            from: times.first().copied(),
            to: times.last().copied(),
            step_s: times.first().zip(times.get(1)).map(|(a, b)| b.saturating_sub(*a)),
            recorded: recorded.len(),
            of: rows.len(),
            series: columns.iter().filter_map(Column::summary).collect(),
            points,
            note,
        })
    }

    /// The series that are meant, of those there are: by name, else by the beginning of the name.
    fn chosen<'a>(&self, names: &[&'a str]) -> Result<Vec<&'a str>> {
        let Some(wanted) = self.series.as_ref().filter(|wanted| !wanted.is_empty() && !names.is_empty()) else {
            return Ok(names.to_vec());
        };
        let mut chosen = Vec::new();
        for one in wanted {
            let exact = names.iter().filter(|name| *name == one);
            let begins = names.iter().filter(|name| name.starts_with(one.as_str()));
            let found: Vec<&str> =
                if names.contains(&one.as_str()) { exact.copied().collect() } else { begins.copied().collect() };
            if found.is_empty() {
                return Err(Error::bad_argument(format!("series: expected names of series, got '{one}'"))
                    .hint(format!("there are {}", names.join(", "))));
            }
            chosen.extend(found.into_iter().filter(|name| !chosen.contains(name)).collect::<Vec<_>>());
        }
        Ok(chosen)
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|n| n.is_finite())
}

/// A series with its values in one unit.
struct Column<'a> {
    name: &'a str,
    unit: Option<&'static str>,
    /// What a raw value is divided by.
    divisor: f64,
    values: Vec<f64>,
}

impl<'a> Column<'a> {
    fn of(name: &'a str, rows: &[&Row]) -> Option<Self> {
        let raw: Vec<f64> = rows.iter().filter_map(|row| number(row.get(name)?)).collect();
        let most = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (unit, divisor) = scale(name, most);
        let values = raw.iter().map(|value| value / divisor).collect::<Vec<_>>();
        (!values.is_empty()).then_some(Self { name, unit, divisor, values })
    }

    fn summary(&self) -> Option<Series> {
        let last = *self.values.last()?;
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        // The smallest value that 95 % of all do not exceed.
        let p95 = *sorted.get((sorted.len() * 95).div_ceil(100).saturating_sub(1))?;
        Some(Series {
            series: self.name.to_owned(),
            unit: self.unit,
            last: tidy(last),
            min: tidy(min),
            mean: tidy(mean),
            p95: tidy(p95),
            max: tidy(max),
        })
    }
}

/// What a series is measured in, as Proxmox's graphs have it, and what its raw values are divided by. What is not known
/// here stays as it is, without a unit.
fn scale(name: &str, most: f64) -> (Option<&'static str>, f64) {
    let bytes = |units: [&'static str; 4]| match most {
        most if most >= f64::from(1 << 30) => (Some(units[3]), f64::from(1 << 30)),
        most if most >= f64::from(1 << 20) => (Some(units[2]), f64::from(1 << 20)),
        most if most >= 1024.0 => (Some(units[1]), 1024.0),
        _ => (Some(units[0]), 1.0),
    };
    match name {
        "cpu" | "iowait" => (Some("%"), 0.01),
        "maxcpu" => (Some("CPUs"), 1.0),
        name if name.starts_with("pressure") => (Some("%"), 1.0),
        "mem" | "maxmem" | "memhost" | "memtotal" | "memused" | "memavailable" | "swaptotal" | "swapused"
        | "arcsize" | "disk" | "maxdisk" | "roottotal" | "rootused" => bytes(["B", "KiB", "MiB", "GiB"]),
        "netin" | "netout" | "diskread" | "diskwrite" => bytes(["B/s", "KiB/s", "MiB/s", "GiB/s"]),
        _ => (None, 1.0),
    }
}

/// Two decimals, or as many as leave a small number three digits.
fn tidy(value: f64) -> f64 {
    if value == 0.0 || value.abs() >= 1.0 {
        return round(value);
    }
    let factor = 10_f64.powi(2 - value.abs().log10().floor() as i32);
    (value * factor).round() / factor
}

/// So many points at most, each of neighbours: their mean, or their maximum where maxima are asked for.
fn thinned(columns: &[Column<'_>], rows: &[&Row], count: usize, cf: Consolidation) -> Vec<Point> {
    let size = rows.len().div_ceil(count).max(1);
    let point = |rows: &[&Row]| {
        let time = rows.last().and_then(|row| number(row.get("time")?)).unwrap_or_default() as u64;
        let mut point = Point { time, values: BTreeMap::new() };
        for column in columns {
            let values: Vec<f64> = rows.iter().filter_map(|row| number(row.get(column.name)?)).collect();
            let value = match cf {
                _ if values.is_empty() => continue,
                Consolidation::Average => values.iter().sum::<f64>() / values.len() as f64,
                Consolidation::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            };
            point.values.insert(column.name.to_owned(), tidy(value / column.divisor));
        }
        point
    };
    rows.chunks(size).map(point).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(values: &[f64]) -> Vec<Row> {
        let row = |(at, value): (usize, &f64)| {
            [("time".to_owned(), json!(at * 60)), ("cpu".to_owned(), json!(value))].into_iter().collect()
        };
        values.iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_summary_is_in_a_readable_unit() {
        let rows = rows(&(1..=100).map(|n| f64::from(n) / 100.0).collect::<Vec<_>>());
        let rows: Vec<&Row> = rows.iter().collect();
        let summary = Column::of("cpu", &rows).and_then(|column| column.summary());
        let found = summary.map(|s| (s.unit, s.min, s.mean, s.p95, s.max, s.last));
        assert_eq!(found, Some((Some("%"), 1.0, 50.5, 95.0, 100.0, 100.0)));
    }

    #[test]
    fn points_are_thinned_evenly_and_maxima_stay_maxima() {
        let rows = rows(&[0.1, 0.3, 0.2, 0.4, 0.5]);
        let rows: Vec<&Row> = rows.iter().collect();
        let columns: Vec<Column<'_>> = Column::of("cpu", &rows).into_iter().collect();
        let cpu = |cf| thinned(&columns, &rows, 3, cf).iter().map(|p| (p.time, p.values["cpu"])).collect::<Vec<_>>();
        assert_eq!(cpu(Consolidation::Average), [(60, 20.0), (180, 30.0), (240, 50.0)]);
        assert_eq!(cpu(Consolidation::Max), [(60, 30.0), (180, 40.0), (240, 50.0)]);
    }

    #[test]
    fn small_numbers_keep_their_digits() {
        assert_eq!([tidy(0.004_567), tidy(12.3456), tidy(0.0), tidy(-0.12345)], [0.00457, 12.35, 0.0, -0.123]);
    }
}
