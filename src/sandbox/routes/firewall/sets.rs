//! Aliases and IP sets, and what rules may refer to.

use serde_json::{Value, json};

use super::{change, read, scope};
use crate::sandbox::{
    call::Call,
    firewall::{Firewall, Member, ip_version},
    router::Route,
    wire::{Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/firewall/aliases", aliases),
    Route::post("/cluster/firewall/aliases", create_alias),
    Route::get("/cluster/firewall/aliases/{name}", alias),
    Route::put("/cluster/firewall/aliases/{name}", update_alias),
    Route::delete("/cluster/firewall/aliases/{name}", remove_alias),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/aliases", aliases),
    Route::post("/nodes/{node}/qemu/{vmid}/firewall/aliases", create_alias),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/aliases/{name}", alias),
    Route::put("/nodes/{node}/qemu/{vmid}/firewall/aliases/{name}", update_alias),
    Route::delete("/nodes/{node}/qemu/{vmid}/firewall/aliases/{name}", remove_alias),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/aliases", aliases),
    Route::post("/nodes/{node}/lxc/{vmid}/firewall/aliases", create_alias),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/aliases/{name}", alias),
    Route::put("/nodes/{node}/lxc/{vmid}/firewall/aliases/{name}", update_alias),
    Route::delete("/nodes/{node}/lxc/{vmid}/firewall/aliases/{name}", remove_alias),
    Route::get("/cluster/firewall/ipset", sets),
    Route::post("/cluster/firewall/ipset", create_set),
    Route::get("/cluster/firewall/ipset/{name}", members),
    Route::post("/cluster/firewall/ipset/{name}", add_member),
    Route::delete("/cluster/firewall/ipset/{name}", remove_set),
    Route::delete("/cluster/firewall/ipset/{name}/{cidr}", remove_member),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/ipset", sets),
    Route::post("/nodes/{node}/qemu/{vmid}/firewall/ipset", create_set),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/ipset/{name}", members),
    Route::post("/nodes/{node}/qemu/{vmid}/firewall/ipset/{name}", add_member),
    Route::delete("/nodes/{node}/qemu/{vmid}/firewall/ipset/{name}", remove_set),
    Route::delete("/nodes/{node}/qemu/{vmid}/firewall/ipset/{name}/{cidr}", remove_member),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/ipset", sets),
    Route::post("/nodes/{node}/lxc/{vmid}/firewall/ipset", create_set),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/ipset/{name}", members),
    Route::post("/nodes/{node}/lxc/{vmid}/firewall/ipset/{name}", add_member),
    Route::delete("/nodes/{node}/lxc/{vmid}/firewall/ipset/{name}", remove_set),
    Route::delete("/nodes/{node}/lxc/{vmid}/firewall/ipset/{name}/{cidr}", remove_member),
    Route::get("/cluster/firewall/refs", refs),
    Route::get("/nodes/{node}/qemu/{vmid}/firewall/refs", refs),
    Route::get("/nodes/{node}/lxc/{vmid}/firewall/refs", refs),
];

fn commented(mut row: Value, comment: Option<&String>) -> Value {
    if let Some(comment) = comment {
        row["comment"] = comment.as_str().into();
    }
    row
}

fn alias_row(name: &str, (cidr, comment): &(String, Option<String>)) -> Value {
    commented(json!({"name": name, "cidr": cidr, "ipversion": ip_version(cidr).unwrap_or(4)}), comment.as_ref())
}

fn aliases(call: &Call) -> Answered {
    read(call, |firewall| {
        let digest = firewall.digest();
        let rows = firewall.aliases.iter().map(|(name, alias)| {
            let mut row = alias_row(name, alias);
            row["digest"] = digest.as_str().into();
            row
        });
        Ok(rows.collect::<Vec<_>>().into())
    })
}

fn alias(call: &Call) -> Answered {
    read(call, |firewall| {
        let name = call.text("name");
        let alias = firewall.aliases.get(name).ok_or_else(|| Refusal::param("name", "no such alias"))?;
        Ok(alias_row(name, alias).into())
    })
}

fn create_alias(call: &Call) -> Answered {
    change(call, |firewall| {
        let name = call.text("name");
        if firewall.aliases.contains_key(name) {
            return Err(Refusal::param("name", format!("alias '{name}' already exists")));
        }
        let alias = (call.text("cidr").to_owned(), call.get("comment").map(str::to_owned));
        firewall.aliases.insert(name.to_owned(), alias);
        Ok(())
    })
}

fn update_alias(call: &Call) -> Answered {
    change(call, |firewall| {
        let name = call.text("name");
        let (_, old) = firewall.aliases.remove(name).ok_or_else(|| Refusal::param("name", "no such alias"))?;
        let alias = (call.text("cidr").to_owned(), call.get("comment").map(str::to_owned).or(old));
        firewall.aliases.insert(call.get("rename").unwrap_or(name).to_owned(), alias);
        Ok(())
    })
}

/// One that is not there is gone already.
fn remove_alias(call: &Call) -> Answered {
    change(call, |firewall| {
        firewall.aliases.remove(call.text("name"));
        Ok(())
    })
}

fn sets(call: &Call) -> Answered {
    read(call, |firewall| {
        let digest = firewall.digest();
        let rows = firewall
            .sets
            .iter()
            .map(|(name, (comment, _))| commented(json!({"name": name, "digest": digest}), comment.as_ref()));
        Ok(rows.collect::<Vec<_>>().into())
    })
}

fn create_set(call: &Call) -> Answered {
    change(call, |firewall| {
        let name = call.text("name");
        if let Some(old) = call.get("rename") {
            let missing = || Refusal::param("name", format!("IPSet '{old}' does not exist"));
            let (comment, members) = firewall.sets.remove(old).ok_or_else(missing)?;
            let comment = call.get("comment").map(str::to_owned).or(comment);
            firewall.sets.insert(name.to_owned(), (comment, members));
            return Ok(());
        }
        if firewall.sets.contains_key(name) {
            return Err(Refusal::param("name", format!("IPSet '{name}' already exists")));
        }
        firewall.sets.insert(name.to_owned(), (call.get("comment").map(str::to_owned), Vec::new()));
        Ok(())
    })
}

fn remove_set(call: &Call) -> Answered {
    change(call, |firewall| {
        let name = call.text("name");
        match firewall.sets.get(name) {
            Some((_, members)) if !members.is_empty() && !call.flag("force") => {
                Err(Refusal::failed(format!("IPSet '{name}' is not empty")))
            }
            _ => {
                firewall.sets.remove(name);
                Ok(())
            }
        }
    })
}

fn no_set(name: &str) -> Refusal {
    Refusal::failed(format!("no such IPSet '{name}'"))
}

fn members(call: &Call) -> Answered {
    read(call, |firewall| {
        let name = call.text("name");
        let (_, members) = firewall.sets.get(name).ok_or_else(|| no_set(name))?;
        let digest = firewall.digest();
        let rows = members.iter().map(|member| {
            let mut row = json!({"cidr": member.cidr, "digest": digest});
            if member.nomatch {
                row["nomatch"] = 1.into();
            }
            commented(row, member.comment.as_ref())
        });
        Ok(rows.collect::<Vec<_>>().into())
    })
}

fn add_member(call: &Call) -> Answered {
    change(call, |firewall| {
        let (name, cidr) = (call.text("name"), call.text("cidr"));
        let (_, members) = firewall.sets.get_mut(name).ok_or_else(|| no_set(name))?;
        if members.iter().any(|member| member.cidr == cidr) {
            return Err(Refusal::param("cidr", format!("address '{cidr}' already exists")));
        }
        let comment = call.get("comment").map(str::to_owned);
        members.insert(0, Member { cidr: cidr.to_owned(), nomatch: call.flag("nomatch"), comment });
        Ok(())
    })
}

fn remove_member(call: &Call) -> Answered {
    change(call, |firewall| {
        let (name, cidr) = (call.text("name"), call.text("cidr"));
        let (_, members) = firewall.sets.get_mut(name).ok_or_else(|| no_set(name))?;
        members.retain(|member| member.cidr != cidr);
        Ok(())
    })
}

/// The names that rules may use: the cluster's, and the guest's own.
fn refs(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let own = scope(call, &state)?;
    let mut rows = Vec::new();
    let mut add = |firewall: &Firewall, scope: &str| {
        for (name, (_, comment)) in &firewall.aliases {
            let row = json!({"type": "alias", "name": name, "ref": format!("{scope}/{name}"), "scope": scope});
            rows.push(commented(row, comment.as_ref()));
        }
        for (name, (comment, _)) in &firewall.sets {
            let row = json!({"type": "ipset", "name": name, "ref": format!("+{scope}/{name}"), "scope": scope});
            rows.push(commented(row, comment.as_ref()));
        }
    };
    if let Some(cluster) = state.firewalls.get("cluster") {
        add(cluster, "dc");
    }
    if let Some(guest) = state.firewalls.get(&own).filter(|_| own != "cluster") {
        add(guest, "guest");
    }
    rows.retain(|row| call.get("type").is_none_or(|kind| row["type"] == kind));
    Ok(rows.into())
}
