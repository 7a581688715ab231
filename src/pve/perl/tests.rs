#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Id(u32);

#[derive(Debug, PartialEq, Deserialize)]
struct Row {
    vmid: Id,
    memory: u64,
    cores: Option<u32>,
    cpu: f64,
    #[serde(default)]
    template: bool,
    name: Option<String>,
    lock: Option<String>,
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    from_slice(json.as_bytes()).map_err(|e| e.to_string())
}

#[test]
fn the_same_row_is_read_with_numbers_and_with_strings() {
    let plain = r#"{"vmid":100,"memory":512,"cores":1,"cpu":0.25,"template":true,"name":"7"}"#;
    let perl = r#"{"vmid":"100","memory":"512","cores":"1","cpu":"0.25","template":1,"name":7,"lock":null}"#;
    assert_eq!(read::<Row>(perl), read::<Row>(plain));
    assert!(read::<Row>(plain).unwrap().template);
}

#[test]
fn integers_may_be_floats_without_a_fraction_only() {
    assert_eq!(read::<u64>("1.0"), Ok(1));
    assert_eq!(read::<i32>("\"-3.0\""), Ok(-3));
    assert_eq!(read::<u64>("1e3"), Ok(1000));
    assert!(read::<u64>("1.5").unwrap_err().contains("whole number"));
    assert!(read::<u64>("-1").is_err());
    assert!(read::<u8>("\"256\"").is_err());
    assert!(read::<u64>("\"18446744073709551616\"").is_err(), "digits that a float has lost");
}

#[test]
fn booleans_come_in_every_form_that_proxmox_uses() {
    let forms = r#"[1, "1", true, "on", "yes", 0, "0", "", false, "off", "no"]"#;
    let read: Vec<bool> = read(forms).unwrap();
    assert_eq!(read, [[true; 5].as_slice(), &[false; 6]].concat());
    assert!(super::from_slice::<bool>(b"2").is_err());
}

#[test]
fn text_keeps_the_digits_of_a_number() {
    let texts: Vec<String> = read(r#"["a", 100, -1, 18446744073709551615, 0.5, 1.25, true]"#).unwrap();
    assert_eq!(texts, ["a", "100", "-1", "18446744073709551615", "0.5", "1.25", "1"]);
}

#[test]
fn null_is_an_absent_option_and_an_empty_list_or_map() {
    assert_eq!(read::<Option<u32>>("null"), Ok(None));
    assert_eq!(read::<Vec<u32>>("null"), Ok(vec![]));
    assert_eq!(read::<HashMap<String, u32>>("null"), Ok(HashMap::new()));
    assert_eq!(read::<HashMap<u32, Option<u32>>>(r#"{"7":"8"}"#), Ok(HashMap::from([(7, Some(8))])));
}

#[test]
fn pressure_figures_are_read_as_strings_and_as_numbers() {
    #[derive(Deserialize)]
    struct Pressure {
        pressurecpusome: f32,
        mem: Option<i64>,
    }
    let read: Vec<Pressure> = read(r#"[{"pressurecpusome":"0.17"},{"pressurecpusome":0,"mem":"12"}]"#).unwrap();
    assert_eq!((read[0].pressurecpusome, read[1].pressurecpusome), (0.17, 0.0));
    assert_eq!((read[0].mem, read[1].mem), (None, Some(12)));
}

#[test]
fn unknown_fields_may_be_kept_by_flattening_them_into_values() {
    #[derive(Deserialize)]
    struct Config {
        memory: Option<u64>,
        #[serde(flatten)]
        rest: serde_json::Map<String, Value>,
    }
    // serde hands fields that have a name to their type unbuffered, also beside a flattened map.
    let read: Config = read(r#"{"memory":"512","scsi0":"local:1","cores":2}"#).unwrap();
    assert_eq!(read.memory, Some(512));
    assert_eq!(read.rest["cores"], 2);
}

#[test]
fn enums_and_nested_structures_are_read_inside() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Status {
        Running,
        Stopped,
    }
    let read: Vec<(Status, Vec<Option<u8>>)> = read(r#"[["running",["1",null]],["stopped",[2.0]]]"#).unwrap();
    assert_eq!(read, [(Status::Running, vec![Some(1), None]), (Status::Stopped, vec![Some(2)])]);
}

#[test]
fn errors_say_where_and_what() {
    let error = read::<Row>(r#"{"vmid":"x"}"#).unwrap_err();
    assert!(error.contains("\"x\"") && error.contains("line 1 column"), "{error}");
    assert!(read::<u32>("1 2").is_err(), "trailing characters");
}
