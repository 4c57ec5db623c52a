//! Servers that do not behave: they cost the plugin that asks them, and nobody else.

use std::time::Duration;

use rillway_plugin_sdk::layers::View;
use rillway_plugin_sdk::recording::Event;
use rillway_plugin_sdk::signaling::Input;
use rillway_policy::testing::{self, Behaviour};
use rillway_policy::{Budgets, Excess, Fault, Kind, PluginSpec};

use super::component::{Request, says, spec};
use super::server::{Manner, Server, answer};
use crate::support::{TestHost, attempt, eventually, patient, sent, text};

fn within(call: Duration, good: PluginSpec) -> PluginSpec {
    PluginSpec {
        budgets: Budgets {
            call: Some(call),
            ..Budgets::default()
        },
        ..good
    }
}

#[tokio::test]
async fn waiting_past_the_deadline_is_a_timeout() {
    let host = TestHost::new();
    for manner in [Manner::Silent, Manner::Dribble] {
        let server = Server::new(manner).await;
        let call = Duration::from_millis(60);
        let slow = within(
            call,
            spec(&Request::get(server.origin()), &[&server.origin()]),
        );
        let plugin = host.load(slow).await;
        assert_eq!(says(&plugin).await, Err(Fault::Timeout(call)));
        let stats = plugin.stats();
        assert_eq!(stats.kinds[0].faults("timeout"), 1);
        assert_eq!((stats.http.requests, stats.http.failures), (1, 1));
        eventually("the connection is given up", || {
            plugin.stats().kinds[0].instances == 0
        })
        .await;
    }
}

#[tokio::test]
async fn every_kind_may_wait_too_long() {
    let host = TestHost::new();
    let server = Server::new(Manner::Silent).await;
    let fetch = Behaviour::Fetch(format!("{}/", server.origin()));
    let mut faults = Vec::new();
    let plugin = host.plugin(Kind::Authentication, &fetch).await;
    let policy = plugin.authentication().unwrap();
    faults.push(policy.decide(attempt("r")).await.map(drop));
    let plugin = host.plugin(Kind::Signaling, &fetch).await;
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    faults.push(instance.call(Input::Tick).await.map(drop));
    let plugin = host.plugin(Kind::LayerSelection, &fetch).await;
    let mut instance = plugin.layer_selection().unwrap().open().await.unwrap();
    faults.push(instance.choose(View::default()).await.map(drop));
    let plugin = host.plugin(Kind::Recording, &fetch).await;
    let mut instance = plugin.recording().unwrap().open().await.unwrap();
    faults.push(instance.decide(Event::RoomClosed).await.map(drop));
    let timeout = |ms| Err(Fault::Timeout(Duration::from_millis(ms)));
    assert_eq!(faults, [50, 20, 5, 50].map(timeout));
    // One that is answered behaves well.
    let server = Server::new(Manner::Raw(answer("200 OK", b""))).await;
    let fetch = Behaviour::Fetch(format!("{}/", server.origin()));
    let patient = PluginSpec {
        budgets: patient(),
        ..testing::spec("test", Kind::Signaling, &fetch)
    };
    let plugin = host.load(patient).await;
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    assert_eq!(sent(&instance.call(text("x")).await.unwrap()), Some("x"));
}

#[tokio::test]
async fn while_one_waits_the_thread_runs_others() {
    // One thread for all of them.
    let host = TestHost::new();
    let server = Server::new(Manner::Silent).await;
    let call = Duration::from_secs(1);
    let slow = within(
        call,
        spec(&Request::get(server.origin()), &[&server.origin()]),
    );
    let slow = host.load(slow).await;
    let policy = slow.signaling().unwrap();
    let mut waiting = policy.open().await.unwrap();
    let waiting = tokio::spawn(async move { waiting.call(text("go")).await });
    eventually("it waits", || slow.stats().http.waiting == 1).await;
    let other = PluginSpec {
        budgets: patient(),
        ..testing::spec("other", Kind::Signaling, &Behaviour::Busy(3_000_000))
    };
    let other = host.load(other).await;
    let mut other = other.signaling().unwrap().open().await.unwrap();
    let mut sibling = policy.open().await.unwrap();
    for _ in 0..10 {
        assert_eq!(sent(&other.call(text("x")).await.unwrap()), Some("x"));
        assert_eq!(sibling.call(Input::Tick).await, Ok(vec![]));
    }
    assert!(!waiting.is_finished(), "the calls beside it took longer");
    assert_eq!(waiting.await.unwrap(), Err(Fault::Timeout(call)));
}

#[tokio::test]
async fn a_plugin_may_wait_for_less() {
    let host = TestHost::new();
    let server = Server::new(Manner::Silent).await;
    let request = Request {
        timeout_ms: 20,
        ..Request::get(server.origin())
    };
    let plugin = host.load(spec(&request, &[&server.origin()])).await;
    assert_eq!(says(&plugin).await.unwrap(), "2");
    assert_eq!(plugin.stats().kinds[0].faults_total(), 0);
}

#[tokio::test]
async fn answers_have_a_bound() {
    let host = TestHost::new();
    let mib = 1 << 20;
    let many = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{}\r\n",
        "x: 1\r\n".repeat(100)
    );
    let long = |bytes: usize| {
        let value = "y".repeat(bytes);
        Manner::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: {value}\r\n\r\n").into())
    };
    for (manner, says_so) in [
        (
            Manner::Raw(answer("200 OK", &vec![b'x'; mib + 1])),
            "longer than 1 MiB",
        ),
        (Manner::Endless, "longer than 1 MiB"),
        (Manner::Raw(many.into_bytes()), "too large"),
        (long(65 << 10), "longer than 64 KiB"),
        (long(1 << 20), "too large"),
        (Manner::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()), "invalid"),
        (
            Manner::Raw(b"HTTP/1.1 200 OK\r\nx y\r\n\r\n".to_vec()),
            "invalid",
        ),
    ] {
        let server = Server::new(manner).await;
        let plugin = host
            .load(spec(&Request::get(server.origin()), &[&server.origin()]))
            .await;
        let said = says(&plugin).await.expect(says_so);
        assert!(said.starts_with('3') && said.contains(says_so), "{said}");
        assert!(plugin.stats().http.bytes_received < 2 << 20);
    }
    let server = Server::new(Manner::Raw(answer("200 OK", &vec![b'x'; mib]))).await;
    let plugin = host
        .load(spec(&Request::get(server.origin()), &[&server.origin()]))
        .await;
    assert!(says(&plugin).await.unwrap().starts_with("k200x"));
}

#[tokio::test]
async fn requests_have_a_bound() {
    let host = TestHost::new();
    let server = Server::new(Manner::Raw(answer("200 OK", b""))).await;
    let mib = 1 << 20;
    for (body_bytes, said) in [(mib, "k200"), (mib + 1, "1the body is larger than 1 MiB")] {
        let request = Request {
            method: "PUT",
            body_bytes,
            ..Request::get(server.origin())
        };
        let plugin = host.load(spec(&request, &[&server.origin()])).await;
        assert_eq!(says(&plugin).await.unwrap(), said);
    }
}

#[tokio::test]
async fn bytes_count_for_the_call_and_for_the_second() {
    let host = TestHost::new();
    let server = Server::new(Manner::Raw(answer("200 OK", &[b'x'; 50_000]))).await;
    let good = spec(&Request::get(server.origin()), &[&server.origin()]);
    let little = PluginSpec {
        budgets: Budgets {
            returned_bytes: Some(40_000),
            ..patient()
        },
        ..good.clone()
    };
    let plugin = host.load(little).await;
    assert_eq!(says(&plugin).await, Err(Fault::Excess(Excess::Bytes)));
    // The second call comes while the first has used what there is for four seconds.
    let slow = PluginSpec {
        budgets: Budgets {
            bytes_per_second: Some(10_000),
            ..patient()
        },
        ..good
    };
    let plugin = host.load(slow).await;
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    assert!(instance.call(text("go")).await.is_ok());
    let refused = instance.call(text("go")).await;
    assert!(matches!(refused, Err(Fault::Refused(_))), "{refused:?}");
    assert_eq!(plugin.stats().kinds[0].refused("rate"), 1);
}

#[tokio::test]
async fn the_host_ends_while_a_request_waits() {
    let host = TestHost::new();
    let server = Server::new(Manner::Silent).await;
    let plugin = host
        .load(spec(&Request::get(server.origin()), &[&server.origin()]))
        .await;
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    let waiting = tokio::spawn(async move { instance.call(text("go")).await });
    eventually("it waits", || !server.requests().is_empty()).await;
    assert!(host.0.shutdown(Duration::from_secs(10)));
    assert_eq!(waiting.await.unwrap(), Err(Fault::Gone));
    eventually("nobody waits", || plugin.stats().http.waiting == 0).await;
}
