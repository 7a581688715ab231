//! What is made of failures on the way, and what is sent again.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_get_whose_connection_is_lost_is_sent_again_after_a_pause() {
    let transport = Scripted::new(|n, _| if n < 2 { lost() } else { ok(json!("9.2")) });
    let began = Instant::now();
    let version: String = client(&transport, token()).get(&Request::get("/version")).await.unwrap();
    assert_eq!((version.as_str(), transport.sent().len()), ("9.2", 3));
    assert!(began.elapsed() >= Duration::from_millis(400) && began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_get_is_given_up_after_a_few_tries() {
    let transport = Scripted::new(|_, _| lost());
    let error = client(&transport, token()).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unavailable, 4));
    assert!(error.to_string().contains("connection reset by peer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_connection_is_lost_is_unclear_and_was_sent_once() {
    let transport = Scripted::new(|_, _| lost());
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    let error = write(&client, start()).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unclear, 1));
    assert!(error.parts().hint.as_deref().unwrap().contains("task list"), "{error:?}");
    assert_eq!(error.parts().request.as_deref(), Some("POST /nodes/n/qemu/100/status/start"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_sent_goes_to_the_next_endpoint_which_is_remembered() {
    let transport = Scripted::new(|_, request| match request.uri().host() {
        Some("a") => Err(SendError::NeverSent("connection refused".into())),
        _ => ok(json!("UPID:x")),
    });
    let client = Client::with_transport(&cluster(&["a", "b", "c"], token()), transport.clone());
    assert_eq!(write(&client, start()).await.unwrap(), "UPID:x");
    client.get::<Value>(&Request::get("/version")).await.unwrap();
    assert_eq!(
        transport.sent(),
        ["POST a/nodes/n/qemu/100/status/start", "POST b/nodes/n/qemu/100/status/start", "GET b/version"]
    );
    assert_eq!(client.current_endpoint().map(|e| e.host.as_str()), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn when_no_endpoint_can_be_reached_the_error_names_each() {
    let transport = Scripted::new(|_, _| Err(SendError::NeverSent("connection refused".into())));
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    let error = write(&client, start()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(
        error.to_string(),
        "cannot reach Proxmox: https://a:8006: connection refused; https://b:8006: connection refused"
    );
    assert_eq!(transport.count("POST a"), 4, "certain that nothing was sent: tried again");
}

#[tokio::test(start_paused = true)]
async fn errors_of_a_handler_are_not_tried_again_and_keep_proxmoxs_words() {
    let transport = Scripted::new(|_, _| {
        refuse(
            400,
            "Parameter verification failed.",
            r#"{"data":null,"errors":{"vmid":"value must have a minimum value of 100\n"},"message":"Parameter verification failed.\n"}"#,
        )
    });
    let error = client(&transport, token()).get::<Value>(&Request::get("/x")).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().status, transport.sent().len()), (Kind::BadArgument, Some(400), 1));
    assert_eq!(error.to_string(), "Parameter verification failed. vmid: value must have a minimum value of 100");
    assert_eq!(error.parts().errors["vmid"].trim(), "value must have a minimum value of 100");
}

#[tokio::test(start_paused = true)]
async fn the_reason_phrase_serves_where_the_body_is_silent_and_the_fuller_text_wins() {
    let transport = Scripted::new(|n, _| match n {
        0 => refuse(500, "VM is locked (backup)", r#"{"data":null}"#),
        1 => refuse(
            500,
            "400 Parameter verification failed.",
            r#"{"message":"400 Parameter verification failed.\nid: No such job 'x'\n"}"#,
        ),
        _ => refuse(500, "", "<html>no JSON"),
    });
    let client = client(&transport, token());
    let mut errors = Vec::new();
    for _ in 0..3 {
        let error = write(&client, start()).await.unwrap_err();
        errors.push((error.kind(), error.to_string()));
    }
    assert_eq!(errors[0], (Kind::Locked, "VM is locked (backup)".into()));
    assert_eq!(errors[1], (Kind::NotFound, "400 Parameter verification failed.\nid: No such job 'x'".into()));
    assert_eq!(errors[2], (Kind::Refused, "HTTP status 500 without a word of explanation".into()));
}

#[tokio::test(start_paused = true)]
async fn a_locked_file_is_waited_for_by_a_read_and_left_to_the_caller_by_a_write() {
    let transport = Scripted::new(|n, request| {
        if n == 0 || request.method() == "POST" {
            refuse(500, "can't lock file '/var/lock/x' - got timeout", "")
        } else {
            ok(json!(1))
        }
    });
    let client = client(&transport, token());
    assert_eq!(client.get::<u8>(&Request::get("/x")).await.unwrap(), 1);
    assert_eq!(write(&client, start()).await.unwrap_err().kind(), Kind::Locked);
    assert_eq!((transport.count("GET"), transport.count("POST")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_596_is_unclear_for_a_write_and_for_a_read_depends_on_why() {
    let transport = Scripted::new(|_, request| match request.uri().path() {
        path if path.ends_with("slow") => refuse(596, "Connection timed out", ""),
        _ => refuse(596, "Broken pipe", ""),
    });
    let client = client(&transport, token());
    let kind = |path: &'static str, write_it: bool| {
        let (client, transport) = (client.clone(), transport.clone());
        async move {
            let before = transport.sent().len();
            let outcome = match write_it {
                true => write(&client, Request::post(path)).await,
                false => client.get(&Request::get(path)).await,
            };
            (outcome.unwrap_err().kind(), transport.sent().len() - before)
        }
    };
    assert_eq!(kind("/slow", true).await, (Kind::Unclear, 1));
    assert_eq!(kind("/pipe", true).await, (Kind::Unclear, 1));
    assert_eq!(kind("/slow", false).await, (Kind::Timeout, 1));
    assert_eq!(kind("/pipe", false).await, (Kind::Unavailable, 4));
}

#[tokio::test(start_paused = true)]
async fn a_595_was_never_processed_and_another_endpoint_may_reach_the_node() {
    let transport = Scripted::new(|_, request| match request.uri().host() {
        Some("a") => refuse(595, "No route to host", ""),
        _ => ok(json!("UPID:x")),
    });
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    assert_eq!(write(&client, start()).await.unwrap(), "UPID:x");
    let alone = Client::with_transport(&cluster(&["a"], token()), transport.clone());
    let error = write(&alone, start()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(error.to_string(), "No route to host (595: the node that this request is for cannot be reached)");
    assert_eq!(transport.sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_ends_at_the_limit_and_delays_no_other() {
    let transport = Scripted::slowly(|_, request| match request.uri().path().ends_with("hang") {
        true => Box::pin(std::future::pending()),
        false => Box::pin(async { ok(json!(1)) }),
    });
    let client = client(&transport, token());
    let began = Instant::now();
    let hung = tokio::spawn({
        let client = client.clone();
        async move { client.get::<Value>(&Request::get("/hang")).await }
    });
    tokio::task::yield_now().await;
    for _ in 0..10 {
        client.get::<u8>(&Request::get("/fine")).await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let error = hung.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (Kind::Timeout, Duration::from_secs(30)));
    assert!(error.to_string().contains("no answer within 30 s"), "{error}");
    assert_eq!(transport.count("hang"), 1);
    let write_error = write(&client, Request::post("/hang")).await.unwrap_err();
    assert_eq!((write_error.kind(), transport.count("hang")), (Kind::Unclear, 2));
}

#[tokio::test(start_paused = true)]
async fn after_an_endpoint_was_silent_the_next_call_begins_with_another() {
    let transport = Scripted::slowly(|_, request| match request.uri().host() {
        Some("a") => Box::pin(std::future::pending()),
        _ => Box::pin(async { ok(json!(1)) }),
    });
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    assert_eq!(write(&client, start()).await.unwrap_err().kind(), Kind::Unclear);
    assert_eq!(write(&client, start()).await.unwrap(), json!(1));
    assert_eq!((transport.count("POST a"), transport.count("POST b")), (1, 1));
}
