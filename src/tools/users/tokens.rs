//! API tokens of users.

use serde_json::{Value, json};

use super::{Token, all, path};
use crate::{pve::encode, tool::*};

/// List API tokens, of all users or of one.
#[derive(Deserialize, JsonSchema)]
pub struct ListTokens {
    userid: Option<String>,
}

impl Tool for ListTokens {
    const NAME: &str = "proxmox-list-tokens";
    const TITLE: &str = "List API tokens";
    const API: &[&str] = &["GET /access/users", "GET /access/users/{userid}/token"];
    const EXAMPLE: (&str, &str) = ("Which API tokens are there?", "{}");
}

#[derive(Serialize, JsonSchema)]
pub struct Tokens {
    total: usize,
    tokens: Vec<Row>,
}

#[derive(Serialize, JsonSchema)]
struct Row {
    userid: String,
    tokenid: String,
    /// Has rights of its own only; else those of its user.
    privsep: bool,
    /// Seconds since 1970; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expire: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

fn row(userid: &str, token: Token) -> Row {
    Row {
        userid: userid.to_owned(),
        tokenid: token.tokenid,
        privsep: token.privsep != Some(false),
        expire: Some(token.expire).filter(|at| *at > 0),
        comment: token.comment,
    }
}

impl Query for ListTokens {
    type Output = Tokens;
    async fn query(&self, pve: &Reader<'_>) -> Result<Tokens> {
        let mut tokens: Vec<Row> = match &self.userid {
            Some(userid) => {
                let found: Vec<Token> = pve.get(format!("{}/token", path(userid)?)).await?;
                found.into_iter().map(|token| row(userid, token)).collect()
            }
            None => {
                let of = |user: super::User| {
                    let tokens: Vec<Row> =
                        user.tokens.into_iter().flatten().map(|token| row(&user.userid, token)).collect();
                    tokens
                };
                all(pve).await?.into_iter().flat_map(of).collect()
            }
        };
        tokens.sort_by(|a, b| (&a.userid, &a.tokenid).cmp(&(&b.userid, &b.tokenid)));
        Ok(Tokens { total: tokens.len(), tokens })
    }
}

/// Create an API token; the result has its secret, this once. With privsep it needs roles of its own.
#[derive(Deserialize, JsonSchema)]
pub struct CreateToken {
    userid: String,
    tokenid: String,
    /// False: may do all that its user may.
    #[serde(default = "yes")]
    privsep: bool,
    /// Unix time; 0 never.
    expire: Option<u64>,
    comment: Option<String>,
}

fn yes() -> bool {
    true
}

impl Tool for CreateToken {
    const NAME: &str = "proxmox-create-token";
    const TITLE: &str = "Create an API token";
    const API: &[&str] = &["POST /access/users/{userid}/token/{tokenid}"];
    const EXAMPLE: (&str, &str) =
        ("Make an API token for monitoring", r#"{"userid": "auditor@pve", "tokenid": "monitoring", "confirm": true}"#);
}

impl Action for CreateToken {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, _: &Reader<'_>) -> Result<Plan> {
        let Self { userid, tokenid, privsep, expire, comment } = self;
        let request = Request::post(format!("{}/token/{}", path(userid)?, encode(tokenid)))
            .param("privsep", u8::from(*privsep))
            .maybe("expire", *expire)
            .maybe("comment", comment.as_deref());
        Ok(Plan::new(format!("create API token {userid}!{tokenid}"))
            .about("tokenid", format!("{userid}!{tokenid}"))
            .undo(DeleteToken::NAME, json!({"userid": userid, "tokenid": tokenid}))
            .warn_if(!privsep, || format!("without privilege separation it may do all that {userid} may"))
            .warn_if(*privsep, || {
                format!("it may do nothing until it gets roles of its own: proxmox-assign-permission tokens={userid}!{tokenid}")
            })
            .step(request))
    }

    async fn result(&self, _: &Reader<'_>, _: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        let Some(answer) = done.answers.first() else { return Ok(None) };
        Ok(Some(json!({
            "tokenid": answer["full-tokenid"],
            "secret": answer["value"],
            "note": "Proxmox shows the secret only now",
        })))
    }
}

/// Delete an API token. What uses it stops working at once.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteToken {
    userid: String,
    tokenid: String,
}

impl Tool for DeleteToken {
    const NAME: &str = "proxmox-delete-token";
    const TITLE: &str = "Delete an API token";
    const API: &[&str] = &["DELETE /access/users/{userid}/token/{tokenid}"];
    const EXAMPLE: (&str, &str) =
        ("Revoke alice's laptop token", r#"{"userid": "alice@pve", "tokenid": "laptop", "confirm": true}"#);
}

impl Action for DeleteToken {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::instant().confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let Self { userid, tokenid } = self;
        let request = Request::delete(format!("{}/token/{}", path(userid)?, encode(tokenid)));
        let own = pve.who() == format!("{userid}!{tokenid}");
        Ok(Plan::new(format!("delete API token {userid}!{tokenid}"))
            .about("tokenid", format!("{userid}!{tokenid}"))
            .no_undo("a token's secret cannot be made again")
            .warn_if(own, || "this server itself logs in with it: nothing works afterwards".to_owned())
            .step(request))
    }
}
