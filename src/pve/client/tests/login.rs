//! Logins: tickets, their renewal, tokens that are refused.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_tried_again_and_its_secret_not_told() {
    let transport = Scripted::new(|_, _| refuse(401, "Authentication failed!", ""));
    let error = client(&transport, token()).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unauthorized, 1));
    assert!(error.parts().hint.as_deref().unwrap().contains("ai@pve!mcp"), "{error:?}");
    assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
}

/// A server that gives out tickets `PVE:1`, `PVE:2`, … and refuses all but the last.
fn ticketed() -> impl Fn(usize, &Sent<Bytes>) -> Outcome + Send + Sync + 'static {
    let tickets = Mutex::new(0);
    move |_, request| {
        let mut tickets = tickets.lock().unwrap();
        if request.uri().path().ends_with("/access/ticket") {
            *tickets += 1;
            return ok(
                json!({ "ticket": format!("PVE:{tickets}"), "CSRFPreventionToken": format!("csrf{tickets}"), "username": "ai@pve" }),
            );
        }
        if request.uri().path().ends_with("/forget") {
            *tickets += 1;
            return ok(json!(1));
        }
        let cookie = request.headers().get("cookie").map(|c| c.to_str().unwrap().to_string());
        let valid = format!("PVEAuthCookie=PVE%3A{tickets}");
        let csrf = request.headers().get("csrfpreventiontoken").map(|c| c.to_str().unwrap().to_string());
        if cookie != Some(valid) {
            refuse(401, "permission denied - invalid PVE ticket", "")
        } else if request.method() != "GET" && csrf != Some(format!("csrf{tickets}")) {
            refuse(401, "Permission denied - invalid csrf token", "")
        } else {
            ok(json!(1))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_first_calls_make_one_login() {
    let transport = Scripted::new(ticketed());
    let client = client(&transport, password(None));
    assert_eq!(transport.sent().len(), 0, "nothing before the first call");
    let version = Request::get("/version");
    let calls = (0..50).map(|_| client.get::<u8>(&version));
    futures::future::try_join_all(calls).await.unwrap();
    write(&client, start()).await.unwrap();
    assert_eq!(transport.count("/access/ticket"), 1);
    assert_eq!(transport.sent()[0], "POST a/access/ticket username=ai%40pve&password=pa%20ss%3B%3D");
    assert_eq!(transport.header(1, "csrfpreventiontoken"), None, "only where something is written");
}

#[tokio::test(start_paused = true)]
async fn a_refused_ticket_is_replaced_once_for_all_calls_and_the_write_sent_again() {
    let answer = ticketed();
    let transport = Scripted::slowly(move |n, request| {
        let outcome = answer(n, request);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            outcome
        })
    });
    let client = client(&transport, password(None));
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    client.get::<u8>(&Request::get("/forget")).await.unwrap();
    let requests: Vec<_> = (0..20).map(|n| Request::get(format!("/{n}"))).collect();
    let reads = requests.iter().map(|request| client.get::<u8>(request));
    let (reads, written) = tokio::join!(futures::future::try_join_all(reads), write(&client, start()));
    assert_eq!((reads.unwrap().len(), written.unwrap()), (20, json!(1)));
    assert_eq!(transport.count("/access/ticket"), 2);
    assert_eq!(transport.count("POST a/nodes"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_is_refused_even_after_a_new_login_is_an_error() {
    let transport = Scripted::new(|_, request| match request.uri().path().ends_with("/access/ticket") {
        true => ok(json!({ "ticket": "PVE:x", "CSRFPreventionToken": "c" })),
        false => refuse(401, "Authentication failed!", ""),
    });
    let error = client(&transport, password(None)).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert_eq!((transport.count("/access/ticket"), transport.count("/version")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_ends_at_the_limit_for_all_who_wait_for_it() {
    let transport = Scripted::slowly(|_, _| Box::pin(std::future::pending()));
    let client = client(&transport, password(None));
    let began = Instant::now();
    let version = Request::get("/version");
    let outcomes = futures::future::join_all((0..5).map(|_| client.get::<u8>(&version))).await;
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind(), Kind::Timeout);
    }
    assert_eq!(transport.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ageing_ticket_is_renewed_by_itself_without_holding_up_the_call() {
    let transport = Scripted::slowly({
        let answer = ticketed();
        move |n, request| {
            let outcome = answer(n, request);
            let renewal = n > 1 && request.uri().path().ends_with("/access/ticket");
            Box::pin(async move {
                if renewal {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
                outcome
            })
        }
    });
    let client = client(&transport, password(None));
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    tokio::time::advance(Duration::from_secs(91 * 60)).await;
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    let sent = transport.sent();
    assert_eq!(sent[3], "POST a/access/ticket username=ai%40pve&password=PVE%3A1", "the old ticket as the password");
    assert_eq!(transport.count("/access/ticket"), 2);
    assert_eq!(transport.header(4, "cookie").as_deref(), Some("PVEAuthCookie=PVE%3A2"));
    tokio::time::advance(Duration::from_secs(3 * 3600)).await;
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    assert_eq!(transport.sent()[5], "POST a/access/ticket username=ai%40pve&password=pa%20ss%3B%3D", "it had expired");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_said_once_for_all_who_waited() {
    let transport = Scripted::slowly(|_, _| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            refuse(401, "authentication failure", r#"{"data":null,"message":"authentication failure\n"}"#)
        })
    });
    let client = client(&transport, password(None));
    let version = Request::get("/version");
    let outcomes = futures::future::join_all((0..5).map(|_| client.get::<u8>(&version))).await;
    assert_eq!(transport.sent().len(), 1, "five wrong logins might lock the account");
    for error in outcomes.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.to_string(), "Proxmox refuses the login of ai@pve: authentication failure");
        assert!(error.parts().hint.as_deref().unwrap().contains("PROXMOX_PASSWORD"), "{error:?}");
        assert!(!format!("{error:?}").contains("pa ss"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_is_answered_with_a_totp_code() {
    let transport = Scripted::new(|_, request| {
        if !request.uri().path().ends_with("/access/ticket") {
            return ok(json!(1));
        }
        let form = String::from_utf8_lossy(request.body()).into_owned();
        match form.split_once("&tfa-challenge=") {
            None => ok(json!({ "ticket": "PVE:!tfa!{\"totp\":true}:x", "CSRFPreventionToken": "c", "NeedTFA": 1 })),
            Some((_, "PVE%3A%21tfa%21%7B%22totp%22%3Atrue%7D%3Ax")) => {
                ok(json!({ "ticket": "PVE:whole", "CSRFPreventionToken": "c2" }))
            }
            Some(_) => refuse(401, "authentication failure", ""),
        }
    });
    let client = client(&transport, password(Some("JBSW Y3DP EHPK 3PXP")));
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    let second = transport.sent()[1].clone();
    let code =
        second.split("password=totp%3A").nth(1).and_then(|rest| rest.get(..6)).unwrap_or_else(|| panic!("{second}"));
    assert!(code.chars().all(|c| c.is_ascii_digit()), "{second}");
    assert_eq!(transport.header(2, "cookie").as_deref(), Some("PVEAuthCookie=PVE%3Awhole"));
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_without_a_secret_names_the_setting() {
    let transport =
        Scripted::new(|_, _| ok(json!({ "ticket": "PVE:!tfa!x", "CSRFPreventionToken": "c", "NeedTFA": 1 })));
    let error = client(&transport, password(None)).get::<u8>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unauthorized, 1));
    assert!(error.parts().hint.as_deref().unwrap().contains("PROXMOX_TOTP_SECRET"), "{error:?}");
}
